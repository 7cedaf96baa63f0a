"""Weights to and from `transformers`: a folder that `ApertusForCausalLM` loads, with the same logits.

The model's modules carry the names of `ApertusForCausalLM`, so moving weights is adding a prefix. Logits agree to about
1e-6 (tests/train/test_model.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from train.errors import TrainError
from train.model import XIELU_BETA, Apertus, ModelShape
from train.publish import publish_folder


def export_transformers(
    shape: ModelShape,
    weights: Mapping[str, Tensor],
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
        shape: of the model.
        weights: its state, which keeps its dtype.
        folder: must not exist.
        begin, end: ids of BoD and EoD.
        padding: id of a padding token, if there is one. Never EoD: transformers gives the padding token's embedding
            no gradient, so fine-tuning could not learn where documents end.
        context: longest text in tokens that the model was trained on.
        tokenizer: content of the tokenizer's JSON file, to ship with the weights.
    """
    from safetensors.torch import save_file

    theirs = {}
    for name, tensor in weights.items():
        theirs[name if name.startswith("lm_head.") else f"model.{name}"] = tensor.detach().cpu().contiguous()
    dtype = weights["lm_head.weight"].dtype
    for layer in range(shape.layers):  # constants that transformers keeps beside the two learned scalars
        theirs[f"model.layers.{layer}.mlp.act_fn.beta"] = torch.tensor(XIELU_BETA, dtype=dtype)
        theirs[f"model.layers.{layer}.mlp.act_fn.eps"] = torch.tensor(-1e-6, dtype=dtype)
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
        save_file(theirs, draft / "model.safetensors", metadata={"format": "pt"})
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
