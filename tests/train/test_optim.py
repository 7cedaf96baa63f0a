"""AdEMAMix held against its paper's formulas, one number at a time."""

# ruff: noqa: E402 - without torch nothing below the skip must be imported
from __future__ import annotations

import itertools
import math

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")

from train.optim import AdEMAMix, parameter_groups, slow_decay, slow_weight

SETTINGS = {"lr": 0.01, "betas": (0.9, 0.99, 0.995), "alpha": 5.0, "warmup": 20, "eps": 1e-8, "weight_decay": 0.1}


def gradients(steps: int) -> list[float]:
    return torch.randn(steps, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).tolist()


def by_the_paper(start: float, grads: list[float]) -> list[float]:
    """Algorithm 1 of arXiv 2409.03137 with the schedulers of its section 3, on one parameter."""
    beta1, beta2, beta3 = SETTINGS["betas"]
    fast = slow = square = 0.0
    value, values = start, []
    for t, grad in enumerate(grads, start=1):
        alpha = min(t * SETTINGS["alpha"] / SETTINGS["warmup"], SETTINGS["alpha"])
        done = t / SETTINGS["warmup"]
        fade = math.log(beta1) * math.log(beta3) / ((1 - done) * math.log(beta3) + done * math.log(beta1))
        beta = min(math.exp(fade), beta3)
        fast = beta1 * fast + (1 - beta1) * grad
        slow = beta * slow + (1 - beta) * grad
        square = beta2 * square + (1 - beta2) * grad**2
        update = (fast / (1 - beta1**t) + alpha * slow) / (math.sqrt(square / (1 - beta2**t)) + SETTINGS["eps"])
        value -= SETTINGS["lr"] * (update + SETTINGS["weight_decay"] * value)
        values.append(value)
    return values


def run(optimizer: torch.optim.Optimizer, parameter: torch.Tensor, grads: list[float]) -> list[float]:
    values = []
    for grad in grads:
        parameter.grad = torch.full_like(parameter, grad)
        optimizer.step()
        values.append(float(parameter.detach()[0]))
    return values


def test_updates_equal_the_papers_formula() -> None:
    parameter = torch.nn.Parameter(torch.tensor([0.7, 0.7], dtype=torch.float64))
    values = run(AdEMAMix([parameter], **SETTINGS), parameter, gradients(40))
    assert values == pytest.approx(by_the_paper(0.7, gradients(40)), rel=1e-12)


def test_a_saved_optimizer_goes_on_bit_for_bit() -> None:
    grads = gradients(40)
    whole = torch.nn.Parameter(torch.tensor([0.7]))
    expected = run(AdEMAMix([whole], **SETTINGS), whole, grads)[25:]
    first = torch.nn.Parameter(torch.tensor([0.7]))
    optimizer = AdEMAMix([first], **SETTINGS)
    run(optimizer, first, grads[:25])
    second = torch.nn.Parameter(first.detach().clone())
    resumed = AdEMAMix([second], **{**SETTINGS, "alpha": 0.0})
    resumed.load_state_dict(optimizer.state_dict())
    assert run(resumed, second, grads[25:]) == expected


def test_without_slow_average_and_decay_it_is_adam() -> None:
    a, b = (torch.nn.Parameter(torch.tensor([0.7], dtype=torch.float64)) for _ in range(2))
    ours = AdEMAMix([a], lr=0.01, betas=(0.9, 0.99, 0.999), alpha=0.0)
    adam = torch.optim.Adam([b], lr=0.01, betas=(0.9, 0.99))
    assert run(ours, a, gradients(20)) == pytest.approx(run(adam, b, gradients(20)), rel=1e-9)


def test_half_life_of_the_slow_average_grows_linearly() -> None:
    lives = [math.log(0.5) / math.log(slow_decay(t, 0.9, 0.9999, 1000)) for t in (0, 250, 500, 750, 1000)]
    steps = [b - a for a, b in itertools.pairwise(lives)]
    assert steps == pytest.approx([steps[0]] * 4)
    assert slow_decay(0, 0.9, 0.9999, 1000) == pytest.approx(0.9)
    assert slow_decay(5000, 0.9, 0.9999, 1000) == 0.9999
    assert [slow_weight(t, 8.0, 1000) for t in (0, 500, 1000, 2000)] == [0, 4, 8, 8]


def test_only_matrices_decay() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2, bias=True), torch.nn.RMSNorm(2))
    decayed, others = parameter_groups(model, 0.1)
    assert [tuple(p.shape) for p in decayed["params"]] == [(2, 3)]
    assert decayed["weight_decay"] == 0.1
    assert [p.dim() for p in others["params"]] == [1, 1]
    assert others["weight_decay"] == 0.0


def test_betas_outside_their_range_are_refused() -> None:
    with pytest.raises(ValueError, match="betas"):
        AdEMAMix([torch.nn.Parameter(torch.zeros(1))], betas=(0.9, 1.0, 0.9999))
