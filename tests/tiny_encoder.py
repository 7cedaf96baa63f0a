"""A randomly initialised two-layer encoder with one token per character, and heads for it: made, never downloaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

HIDDEN = 16
needs_torch = pytest.mark.skipif(
    not (importlib.util.find_spec("torch") and importlib.util.find_spec("transformers")),
    reason="torch or transformers not installed: pip install 'fairtrove[train]'",
)


def save_tiny_encoder(folder: Path) -> Path:
    """Write an XLM-R of 16 hidden units, which reads 80 tokens, to a folder; the same weights every time."""
    import torch
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

    characters = sorted({*"abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ.,!?'äöüß"})
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, **{c: i + 4 for i, c in enumerate(characters)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", model_max_length=80
    ).save_pretrained(folder)
    torch.manual_seed(0)
    XLMRobertaModel(
        XLMRobertaConfig(
            vocab_size=len(vocabulary),
            hidden_size=HIDDEN,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=90,
            initializer_range=0.5,
        )
    ).save_pretrained(folder)
    return folder


def save_tiny_heads(path: Path) -> Path:
    """Write random heads for German and English in one safetensors file."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(1)
    shapes = {"0.weight": (HIDDEN, HIDDEN), "0.bias": (HIDDEN,), "3.weight": (2, HIDDEN), "3.bias": (2,)}
    labels = ("deu_Latn", "eng_Latn")
    save_file({f"{label}.{name}": torch.randn(shape) for label in labels for name, shape in shapes.items()}, path)
    return path
