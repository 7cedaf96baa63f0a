"""MFU counts what torch counts."""

# ruff: noqa: E402 - without torch nothing below the skip must be imported
from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")

from torch.utils.flop_counter import FlopCounterMode

from train.model import Apertus, ModelShape
from train.speed import flops_per_token, multiplying_weights, peak_flops, utilisation

SHAPE = ModelShape(vocab_size=96, layers=2, dim=64, ffn=160, heads=4, kv_heads=2)


def test_operations_are_those_that_torch_counts() -> None:
    """Torch counts attention over the whole square, of which a causal model needs half."""
    model, length = Apertus(SHAPE), 32
    model.initialize(0)
    tokens = torch.randint(0, 96, (2, length))
    # the kernel that computes scores and values as matrix products, which torch can count
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        model(tokens, None, None, tokens).backward()
    causal_saving = 6 * SHAPE.layers * SHAPE.dim * length * tokens.numel()
    assert counter.get_total_flops() - causal_saving == flops_per_token(SHAPE, length) * tokens.numel()


def test_weights_are_those_of_the_model_without_its_embedding_and_vectors() -> None:
    model = Apertus(SHAPE)
    matrices = sum(parameter.numel() for parameter in model.parameters() if parameter.dim() == 2)
    assert multiplying_weights(SHAPE) == matrices - model.embed_tokens.weight.numel()


def test_published_figures_come_out() -> None:
    """Apertus 8B: 48 GFLOP a token, and 6,960 tokens/s on a GH200 are 34 % of it (arXiv 2509.14233)."""
    shape = ModelShape(131072, 32, 4096, 21504, 32, 8)
    assert flops_per_token(shape, 4096) == pytest.approx(48e9, rel=0.02)
    assert utilisation(shape, 4096, 4 * 6960, 4, 989e12) == pytest.approx(0.34, abs=0.005)


def test_a_cpu_has_no_known_peak() -> None:
    assert peak_flops(torch.device("cpu")) is None
