"""The Apertus architecture (arXiv 2509.14233, section 2.1), written to be read, with weights that `transformers` loads.

Pre-norm blocks with RMSNorm, grouped-query attention with a norm on each head's queries and keys, rotary positions,
xIELU in the feed-forward part, untied embeddings, no bias anywhere. Modules carry the names of `ApertusForCausalLM`, so
moving weights is adding a prefix; logits agree to about 1e-6 (tests/train/test_model.py).

Attention stays within a document. On a CPU, FlexAttention and the varlen kernel have no backward pass (torch 2.13), so
the mask is a dense block mask for scaled_dot_product_attention: 7 % on attention at 512 targets.

Shapes: B rows, T tokens, D model width, H query heads, K key and value heads, C width of a head, F feed-forward width,
V vocabulary.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.errors import TrainError
from train.publish import publish_folder

_XIELU_BETA = 0.5


@dataclass(frozen=True)
class ModelShape:
    """Size of a model. Apertus 8B: 32 layers, dim 4096, ffn 21504, 32 heads, 8 kv_heads, vocabulary 131072."""

    vocab_size: int
    layers: int
    dim: int
    ffn: int
    heads: int
    kv_heads: int
    rope_theta: float = 500_000.0
    norm_eps: float = 1e-5
    init_std: float = 0.008944  # Apertus, at every size


class Apertus(nn.Module):
    """A language model: token ids in, logits of the next token out."""

    def __init__(self, shape: ModelShape):
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.dim)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.dim, eps=shape.norm_eps)
        self.lm_head = nn.Linear(shape.dim, shape.vocab_size, bias=False)

    def initialize(self, generator: torch.Generator | None = None) -> None:
        """Draw weights: normal, those that write to the residual stream smaller by sqrt(2 layers), as Megatron does."""
        residual_std = self.shape.init_std / math.sqrt(2 * self.shape.layers)
        for name, parameter in self.named_parameters():
            if parameter.dim() >= 2:
                writes_to_residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                std = residual_std if writes_to_residual else self.shape.init_std
                nn.init.normal_(parameter, std=std, generator=generator)

    def forward(
        self,
        tokens_BT: Tensor,
        documents_BT: Tensor | None = None,
        positions_BT: Tensor | None = None,
    ) -> Tensor:
        """Logits [B, T, V]; without document ids, each row is one document."""
        if positions_BT is None:
            positions_BT = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)[None]
        mask_B1TT = None if documents_BT is None else document_mask(documents_BT)
        rotation = rotary(positions_BT, self.shape.dim // self.shape.heads, self.shape.rope_theta)
        x_BTD = self.embed_tokens(tokens_BT)
        for layer in self.layers:
            x_BTD = layer(x_BTD, rotation, mask_B1TT)
        return self.lm_head(self.norm(x_BTD))

    @torch.no_grad()
    def generate(
        self, prompt: list[int], tokens: int, stop: int, temperature: float, generator: torch.Generator
    ) -> list[int]:
        """Continue a prompt by up to `tokens` tokens, until `stop` is drawn; returns the new ones.

        Recomputes the whole text for each token: meant for a glance at a small model. `transformers` serves the export.
        """
        device = self.embed_tokens.weight.device
        text = list(prompt)
        for _ in range(tokens):
            logits_V = self(torch.tensor([text], device=device))[0, -1].float().cpu()
            weights_V = torch.softmax(logits_V / temperature, dim=-1)
            token = int(torch.multinomial(weights_V, 1, generator=generator))
            if token == stop:
                break
            text.append(token)
        return text[len(prompt) :]


class Block(nn.Module):
    """One layer: attention, then feed-forward, each on the normed residual stream."""

    def __init__(self, shape: ModelShape):
        super().__init__()
        self.attention_layernorm = RMSNorm(shape.dim, eps=shape.norm_eps)
        self.self_attn = Attention(shape)
        self.feedforward_layernorm = RMSNorm(shape.dim, eps=shape.norm_eps)
        self.mlp = FeedForward(shape)

    def forward(self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor], mask_B1TT: Tensor | None) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.attention_layernorm(x_BTD), rotation, mask_B1TT)
        return x_BTD + self.mlp(self.feedforward_layernorm(x_BTD))


class Attention(nn.Module):
    """Grouped-query attention with normed queries and keys."""

    def __init__(self, shape: ModelShape):
        super().__init__()
        width = shape.dim // shape.heads
        self.heads, self.kv_heads, self.width = shape.heads, shape.kv_heads, width
        self.q_proj = nn.Linear(shape.dim, shape.heads * width, bias=False)
        self.k_proj = nn.Linear(shape.dim, shape.kv_heads * width, bias=False)
        self.v_proj = nn.Linear(shape.dim, shape.kv_heads * width, bias=False)
        self.o_proj = nn.Linear(shape.heads * width, shape.dim, bias=False)
        self.q_norm = RMSNorm(width, eps=shape.norm_eps)
        self.k_norm = RMSNorm(width, eps=shape.norm_eps)

    def forward(self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor], mask_B1TT: Tensor | None) -> Tensor:
        B, T, _ = x_BTD.shape
        q_BHTC = rotate(self.q_norm(self.q_proj(x_BTD).view(B, T, self.heads, self.width)), rotation).transpose(1, 2)
        k_BKTC = rotate(self.k_norm(self.k_proj(x_BTD).view(B, T, self.kv_heads, self.width)), rotation).transpose(1, 2)
        v_BKTC = self.v_proj(x_BTD).view(B, T, self.kv_heads, self.width).transpose(1, 2)
        out_BHTC = F.scaled_dot_product_attention(
            q_BHTC,
            k_BKTC,
            v_BKTC,
            attn_mask=mask_B1TT,
            is_causal=mask_B1TT is None,
            enable_gqa=self.heads != self.kv_heads,
        )
        return self.o_proj(out_BHTC.transpose(1, 2).reshape(B, T, -1))


class RMSNorm(nn.RMSNorm):
    """RMSNorm in the precision of its input, also under autocast, where weights stay in float32."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class FeedForward(nn.Module):
    """Up, xIELU, down."""

    def __init__(self, shape: ModelShape):
        super().__init__()
        self.up_proj = nn.Linear(shape.dim, shape.ffn, bias=False)
        self.act_fn = XIELU()
        self.down_proj = nn.Linear(shape.ffn, shape.dim, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down_proj(self.act_fn(self.up_proj(x_BTD)))


class XIELU(nn.Module):
    """xIELU (Huang & Schlag 2024, arXiv 2411.13010): a learned square above zero, a learned exponential below.

    y = a_p x² + x/2 for x > 0, else a_n (e^x - 1 - x) + x/2, with a_p = softplus(alpha_p) and
    a_n = 1/2 + softplus(alpha_n), both 0.8 at the start.
    """

    def __init__(self) -> None:
        super().__init__()
        self.alpha_p = nn.Parameter(torch.tensor([0.8]).expm1().log())
        self.alpha_n = nn.Parameter(torch.tensor([0.8 - _XIELU_BETA]).expm1().log())

    def forward(self, x: Tensor) -> Tensor:
        # cast, else two float32 scalars would make a bfloat16 tensor float32
        positive = F.softplus(self.alpha_p).to(x.dtype)
        negative = (_XIELU_BETA + F.softplus(self.alpha_n)).to(x.dtype)
        return _XIELUFunction.apply(x, positive, negative)


class _XIELUFunction(torch.autograd.Function):
    """xIELU without branches and with only x kept for the backward pass.

    With p = max(x, 0) and n = min(x, 0), both halves add up: y = x/2 + a_p p² + a_n (expm1(n) - n), whose derivative is
    1/2 + 2 a_p p + a_n expm1(n). Autograd's own version of the formula keeps six tensors and takes twice the time.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        ctx.save_for_backward(x, positive, negative)
        p = x.clamp_min(0)
        n = x - p
        curve = torch.expm1(n).sub_(n).mul_(negative)
        return p.mul_(p).mul_(positive).add_(curve).add_(x, alpha=_XIELU_BETA)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, positive, negative = ctx.saved_tensors
        p = x.clamp_min(0)
        n = x - p
        e = torch.expm1(n)
        flat = grad.reshape(-1)
        grad_positive = torch.dot(flat, (p * p).reshape(-1)).reshape(1)
        grad_negative = torch.dot(flat, n.neg_().add_(e).reshape(-1)).reshape(1)
        slope = p.mul_(2 * positive).add_(e.mul_(negative)).add_(_XIELU_BETA)
        return slope.mul_(grad), grad_positive, grad_negative


def document_mask(documents_BT: Tensor) -> Tensor:  # -> bool [B, 1, T, T]
    """True where a query may look at a key: the same document, and not later."""
    length = documents_BT.shape[1]
    causal_TT = torch.ones(length, length, dtype=torch.bool, device=documents_BT.device).tril()
    return ((documents_BT[:, :, None] == documents_BT[:, None, :]) & causal_TT)[:, None]


def rotary(positions_BT: Tensor, width: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine [B, T, 1, C/2] of the angles by which each pair of a head's dimensions turns."""
    frequencies = theta ** (-torch.arange(0, width, 2, device=positions_BT.device, dtype=torch.float32) / width)
    angles = (positions_BT[..., None].float() * frequencies)[:, :, None]
    return angles.cos(), angles.sin()


def rotate(x_BTHC: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair (i, i + C/2) of a head's dimensions by its angle."""
    cos, sin = (part.to(x_BTHC.dtype) for part in rotation)
    a, b = x_BTHC.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def export_transformers(
    model: Apertus,
    folder: Path,
    *,
    begin: int,
    end: int,
    padding: int | None = None,
    context: int,
    tokenizer: str | None = None,
) -> None:
    """Publish a folder that `transformers.ApertusForCausalLM.from_pretrained` loads, with the same logits.

    Args:
        model: what to export; weights keep their dtype.
        folder: must not exist.
        begin, end: ids of BoD and EoD.
        padding: id of a padding token, if there is one. Never EoD: transformers gives the padding token's embedding
            no gradient, so fine-tuning could not learn where documents end.
        context: longest text in tokens that the model was trained on.
        tokenizer: content of the tokenizer's JSON file, to ship with the weights.
    """
    from safetensors.torch import save_file

    shape = model.shape
    weights = {}
    for name, tensor in model.state_dict().items():
        weights[name if name.startswith("lm_head.") else f"model.{name}"] = tensor.detach().cpu().contiguous()
    dtype = model.lm_head.weight.dtype
    for layer in range(shape.layers):  # constants that transformers keeps beside the two learned scalars
        weights[f"model.layers.{layer}.mlp.act_fn.beta"] = torch.tensor(_XIELU_BETA, dtype=dtype)
        weights[f"model.layers.{layer}.mlp.act_fn.eps"] = torch.tensor(-1e-6, dtype=dtype)
    config = {
        "architectures": ["ApertusForCausalLM"],
        "model_type": "apertus",
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.dim,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "hidden_act": "xielu",
        "max_position_embeddings": context,
        "initializer_range": shape.init_std,
        "rms_norm_eps": shape.norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "attention_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": begin,
        "eos_token_id": end,
        "pad_token_id": padding,
        "dtype": str(dtype).removeprefix("torch."),
    }
    with publish_folder(folder) as draft:
        save_file(weights, draft / "model.safetensors", metadata={"format": "pt"})
        _write_json(draft / "config.json", config)
        if tokenizer is not None:
            (draft / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
            names = {entry["id"]: entry["content"] for entry in json.loads(tokenizer)["added_tokens"]}
            special = {"bos_token": names.get(begin), "eos_token": names.get(end)}
            if padding is not None:
                special["pad_token"] = names.get(padding)
            _write_json(draft / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **special})


def load_transformers(folder: Path) -> Apertus:
    """A model from a folder of `transformers` weights (config.json and one model.safetensors).

    Raises:
        TrainError: the folder holds another architecture, or a variant of it that this model has not.
    """
    from safetensors.torch import load_file

    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "model.safetensors")
    except (OSError, ValueError) as error:
        raise TrainError(f"{folder}: no readable config.json and model.safetensors ({error})") from error
    rope = config.get("rope_parameters") or {}
    if config.get("model_type") != "apertus" or rope.get("rope_type") != "default":
        raise TrainError(
            f"{folder}: model_type {config.get('model_type')!r} with rope {rope.get('rope_type')!r};"
            " this trainer loads Apertus with default rope"
        )
    model = Apertus(
        ModelShape(
            vocab_size=config["vocab_size"],
            layers=config["num_hidden_layers"],
            dim=config["hidden_size"],
            ffn=config["intermediate_size"],
            heads=config["num_attention_heads"],
            kv_heads=config["num_key_value_heads"],
            rope_theta=rope["rope_theta"],
            norm_eps=config["rms_norm_eps"],
            init_std=config["initializer_range"],
        )
    )
    ours = {name.removeprefix("model."): tensor for name, tensor in weights.items()}
    constants = (".mlp.act_fn.beta", ".mlp.act_fn.eps")
    model.load_state_dict({name: tensor for name, tensor in ours.items() if not name.endswith(constants)})
    return model


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
