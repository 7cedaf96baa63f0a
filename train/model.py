"""The Apertus architecture (arXiv 2509.14233, section 2.1), written to be read, with weights that `transformers` loads.

Pre-norm blocks with RMSNorm, grouped-query attention with a norm on each head's queries and keys, rotary positions,
xIELU in the feed-forward part, untied embeddings, no bias anywhere. Modules carry the names of `ApertusForCausalLM`
(`train/export.py`).

Attention stays within a document. On a CPU, FlexAttention and the varlen kernel have no backward pass (torch 2.13), so
the mask is a dense block mask for scaled_dot_product_attention: 7 % on attention at 512 targets. On a GPU it is
FlexAttention, which skips the blocks between documents.

Shapes: B rows, T tokens, D model width, H query heads, K key and value heads, C width of a head, F feed-forward width,
V vocabulary.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.utils.checkpoint import checkpoint

from train.goldfish import IGNORED
from train.shuffle import derive_key

XIELU_BETA = 0.5


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
    """A language model: token ids in, logits of the next token out.

    Args:
        shape: its size.
        recompute: activation checkpointing: keep only each layer's input and compute the rest again when gradients are
            asked for; a third more arithmetic for a fraction of the memory, and the same bits.
    """

    def __init__(self, shape: ModelShape, recompute: bool = False):
        super().__init__()
        self.shape = shape
        self.recompute = recompute
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.dim)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.dim, eps=shape.norm_eps)
        self.lm_head = nn.Linear(shape.dim, shape.vocab_size, bias=False)

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Draw weights: normal, those that write to the residual stream smaller by sqrt(2 layers), as Megatron does.

        Each parameter has its own generator, on the CPU, so that the same seed gives the same model on any device and
        any number of workers, which keep their part of each.
        """
        residual_std = self.shape.init_std / math.sqrt(2 * self.shape.layers)
        for number, (name, parameter) in enumerate(self.named_parameters()):
            whole = torch.ones(parameter.shape)
            if name.endswith("alpha_p"):
                whole.fill_(_softplus_inverse(0.8))
            elif name.endswith("alpha_n"):
                whole.fill_(_softplus_inverse(0.8 - XIELU_BETA))
            elif parameter.dim() >= 2:
                writes_to_residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                std = residual_std if writes_to_residual else self.shape.init_std
                generator = torch.Generator().manual_seed(derive_key(seed, number) >> 1)
                nn.init.normal_(whole, std=std, generator=generator)
            assign(parameter, whole)

    def forward(
        self,
        tokens_BT: Tensor,
        documents_BT: Tensor | None = None,
        positions_BT: Tensor | None = None,
        targets_BT: Tensor | None = None,
    ) -> Tensor:
        """Logits [B, T, V]; with targets, the sum of the loss over those that are not `IGNORED`.

        Without document ids, each row is one document.
        """
        if positions_BT is None:
            positions_BT = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)[None]
        mask = None if documents_BT is None else attention_mask(documents_BT)
        rotation = rotary(positions_BT, self.shape.dim // self.shape.heads, self.shape.rope_theta)
        x_BTD = self.embed_tokens(tokens_BT)
        for layer in self.layers:
            if self.recompute and self.training:
                x_BTD = checkpoint(layer, x_BTD, rotation, mask, use_reentrant=False)
            else:
                x_BTD = layer(x_BTD, rotation, mask)
        logits_BTV = self.lm_head(self.norm(x_BTD))
        if targets_BT is None:
            return logits_BTV
        return F.cross_entropy(
            logits_BTV.float().flatten(0, 1), targets_BT.flatten(), ignore_index=IGNORED, reduction="sum"
        )

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

    def forward(self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor], mask: Mask | None) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.attention_layernorm(x_BTD), rotation, mask)
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

    def forward(self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor], mask: Mask | None) -> Tensor:
        B, T, _ = x_BTD.shape
        q_BHTC = rotate(self.q_norm(self.q_proj(x_BTD).view(B, T, self.heads, self.width)), rotation).transpose(1, 2)
        k_BKTC = rotate(self.k_norm(self.k_proj(x_BTD).view(B, T, self.kv_heads, self.width)), rotation).transpose(1, 2)
        v_BKTC = self.v_proj(x_BTD).view(B, T, self.kv_heads, self.width).transpose(1, 2)
        out_BHTC = attend(q_BHTC, k_BKTC, v_BKTC, mask)
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
        self.alpha_p = nn.Parameter(torch.full((1,), _softplus_inverse(0.8)))
        self.alpha_n = nn.Parameter(torch.full((1,), _softplus_inverse(0.8 - XIELU_BETA)))

    def forward(self, x: Tensor) -> Tensor:
        # cast, else two float32 scalars would make a bfloat16 tensor float32
        positive = F.softplus(self.alpha_p).to(x.dtype)
        negative = (XIELU_BETA + F.softplus(self.alpha_n)).to(x.dtype)
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
        return p.mul_(p).mul_(positive).add_(curve).add_(x, alpha=XIELU_BETA)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, positive, negative = ctx.saved_tensors
        p = x.clamp_min(0)
        n = x - p
        e = torch.expm1(n)
        flat = grad.reshape(-1)
        grad_positive = torch.dot(flat, (p * p).reshape(-1)).reshape(1)
        grad_negative = torch.dot(flat, n.neg_().add_(e).reshape(-1)).reshape(1)
        slope = p.mul_(2 * positive).add_(e.mul_(negative)).add_(XIELU_BETA)
        return slope.mul_(grad), grad_positive, grad_negative


Mask = Tensor | BlockMask
"""What a query may look at: dense [B, 1, T, T] on a CPU, blocks that FlexAttention skips on a GPU."""


def attention_mask(documents_BT: Tensor) -> Mask:
    """Attention within documents, in the form that the device's kernel takes."""
    if documents_BT.is_cuda:
        return document_blocks(documents_BT)
    return document_mask(documents_BT)


def document_mask(documents_BT: Tensor) -> Tensor:  # -> bool [B, 1, T, T]
    """True where a query may look at a key: the same document, and not later."""
    length = documents_BT.shape[1]
    causal_TT = torch.ones(length, length, dtype=torch.bool, device=documents_BT.device).tril()
    return ((documents_BT[:, :, None] == documents_BT[:, None, :]) & causal_TT)[:, None]


def document_blocks(documents_BT: Tensor) -> BlockMask:
    """The same as blocks of 128 x 128, of which most are empty where documents are short."""
    rows, length = documents_BT.shape

    def allowed(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (q >= k) & (documents_BT[b, q] == documents_BT[b, k])

    return create_block_mask(allowed, rows, None, length, length, device=documents_BT.device)


def attend(q_BHTC: Tensor, k_BKTC: Tensor, v_BKTC: Tensor, mask: Mask | None) -> Tensor:  # -> [B, H, T, C]
    """Grouped-query attention under a mask; causal without one."""
    grouped = q_BHTC.shape[1] != k_BKTC.shape[1]
    if isinstance(mask, BlockMask):
        return _flex_attention()(q_BHTC, k_BKTC, v_BKTC, block_mask=mask, enable_gqa=grouped)
    return F.scaled_dot_product_attention(
        q_BHTC, k_BKTC, v_BKTC, attn_mask=mask, is_causal=mask is None, enable_gqa=grouped
    )


@functools.lru_cache(maxsize=1)
def _flex_attention() -> Any:
    """FlexAttention is a kernel only when compiled; inside a compiled model the call is part of its graph."""
    return torch.compile(flex_attention, dynamic=False) if torch.cuda.is_available() else flex_attention


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


def assign(parameter: Tensor, whole: Tensor) -> None:
    """Copy a whole tensor into a parameter, of which a sharded one keeps its part."""
    if isinstance(parameter, DTensor):
        # every worker has the same whole tensor, so nothing needs to be sent
        whole = whole.to(parameter.device)
        whole = distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None)
    parameter.copy_(whole)


def _softplus_inverse(value: float) -> float:
    return math.log(math.expm1(value))
