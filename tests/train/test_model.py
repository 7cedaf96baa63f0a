"""The model: the same numbers as `ApertusForCausalLM`, and documents that do not see each other."""

# ruff: noqa: E402 - without torch nothing below the skip must be imported
from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")

from train.errors import TrainError
from train.export import export_transformers, load_transformers
from train.model import XIELU, Apertus, ModelShape, _XIELUFunction, attend, document_blocks, document_mask

SHAPE = ModelShape(vocab_size=200, layers=3, dim=48, ffn=96, heads=4, kv_heads=2, init_std=0.2)


@pytest.fixture(scope="module")
def model() -> Apertus:
    """A model whose every parameter, norms and activations included, is drawn at random."""
    generator = torch.Generator().manual_seed(0)
    model = Apertus(SHAPE)
    model.initialize(0)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model.double().eval()


@pytest.fixture(scope="module")
def tokens() -> torch.Tensor:
    return torch.randint(0, 200, (2, 30), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def theirs(model: Apertus, tmp_path_factory: pytest.TempPathFactory):
    transformers = pytest.importorskip("transformers", reason="parity needs transformers, in the `train` extra")
    if not hasattr(transformers, "ApertusForCausalLM"):
        pytest.skip(f"transformers {transformers.__version__} has no ApertusForCausalLM")
    folder = tmp_path_factory.mktemp("export") / "model"
    export_transformers(model.shape, model.state_dict(), folder, begin=1, end=2, context=64)
    loaded, report = transformers.ApertusForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    return loaded.eval()


@torch.no_grad()
def test_logits_equal_those_of_transformers(model: Apertus, theirs, tokens: torch.Tensor) -> None:
    assert theirs.dtype == torch.float64
    torch.testing.assert_close(model(tokens), theirs(tokens).logits, rtol=0, atol=2e-5)


@torch.no_grad()
def test_packed_documents_equal_those_of_transformers(model: Apertus, theirs, tokens: torch.Tensor) -> None:
    documents = torch.tensor([[0] * 12 + [1] * 18, [4] * 25 + [5] * 5])
    positions = torch.tensor([[*range(12), *range(18)], [*range(25), *range(5)]])
    packed = theirs(tokens, position_ids=positions, use_cache=False).logits
    torch.testing.assert_close(model(tokens, documents, positions), packed, rtol=0, atol=2e-5)


@torch.no_grad()
def test_transformers_generates_what_our_logits_say(model: Apertus, theirs, tokens: torch.Tensor) -> None:
    prompt = tokens[:1, :5]
    generated = theirs.generate(prompt, max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)
    text = prompt
    for _ in range(8):
        text = torch.cat([text, model(text)[:, -1:].argmax(-1)], dim=1)
    assert generated.tolist() == text.tolist()


def test_exported_weights_come_back_unchanged(model: Apertus, tmp_path: Path) -> None:
    export_transformers(model.shape, model.state_dict(), tmp_path / "e", begin=1, end=2, context=64)
    back = load_transformers(tmp_path / "e")
    assert back.shape == SHAPE
    ours, theirs = model.state_dict(), back.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name].float(), theirs[name]) for name in ours)


def test_another_architecture_is_refused(model: Apertus, tmp_path: Path) -> None:
    export_transformers(model.shape, model.state_dict(), tmp_path / "e", begin=1, end=2, context=64)
    config = json.loads((tmp_path / "e" / "config.json").read_text())
    (tmp_path / "e" / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
    with pytest.raises(TrainError, match="llama"):
        load_transformers(tmp_path / "e")
    with pytest.raises(TrainError, match=r"config\.json"):
        load_transformers(tmp_path)


@torch.no_grad()
def test_a_document_is_blind_to_its_neighbours(model: Apertus, tokens: torch.Tensor) -> None:
    documents = torch.tensor([[0] * 12 + [1] * 18] * 2)
    positions = torch.tensor([[*range(12), *range(18)]] * 2)
    packed = model(tokens, documents, positions)
    torch.testing.assert_close(packed[:, :12], model(tokens[:, :12]), rtol=0, atol=1e-10)
    torch.testing.assert_close(packed[:, 12:], model(tokens[:, 12:]), rtol=0, atol=1e-10)


def test_mask_allows_the_same_document_and_the_past_only() -> None:
    mask = document_mask(torch.tensor([[0, 0, 1, 1, 1]]))[0, 0]
    for query in range(5):
        for key in range(5):
            assert mask[query, key] == (key <= query and (key < 2) == (query < 2))


@torch.no_grad()
def test_blocks_for_a_gpu_allow_what_the_dense_mask_allows() -> None:
    """FlexAttention's backward pass needs a GPU; its forward runs anywhere, slowly."""
    documents = torch.tensor([[0] * 50 + [1] * 78, [4] * 128])
    draw = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, 128, 16, generator=draw)
    k, v = (torch.randn(2, 2, 128, 16, generator=draw) for _ in range(2))
    dense = attend(q, k, v, document_mask(documents))
    blocks = attend(q, k, v, document_blocks(documents))
    torch.testing.assert_close(blocks, dense, rtol=0, atol=1e-5)


def test_recomputed_activations_give_the_same_gradients(tokens: torch.Tensor) -> None:
    gradients = []
    for recompute in (False, True):
        model = Apertus(SHAPE, recompute)
        model.initialize(1)
        model(tokens, None, None, tokens).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_xielu_is_the_papers_formula_with_its_gradients() -> None:
    x = torch.linspace(-6, 6, 41, dtype=torch.float64, requires_grad=True)
    positive, negative = (torch.tensor([value], dtype=torch.float64, requires_grad=True) for value in (0.7, 0.9))
    y = _XIELUFunction.apply(x, positive, negative)
    formula = torch.where(x > 0, 0.7 * x * x + 0.5 * x, 0.9 * (torch.exp(x) - 1 - x) + 0.5 * x)
    torch.testing.assert_close(y, formula)
    assert torch.autograd.gradcheck(_XIELUFunction.apply, (x, positive, negative))


def test_xielu_starts_at_the_papers_values_and_keeps_low_precision() -> None:
    activation = XIELU()
    assert torch.nn.functional.softplus(activation.alpha_p).item() == pytest.approx(0.8)
    assert 0.5 + torch.nn.functional.softplus(activation.alpha_n).item() == pytest.approx(0.8)
    x = torch.randn(64, dtype=torch.bfloat16, requires_grad=True)
    y = activation(x)
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert x.grad is not None
    assert activation.alpha_p.grad is not None


def test_first_weights_follow_the_seed() -> None:
    weights = []
    for seed in (1, 1, 2):
        model = Apertus(SHAPE)
        model.initialize(seed)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_generation_stops_and_follows_its_generator(model: Apertus) -> None:
    def write(seed: int, stop: int = -1) -> list[int]:
        return model.generate([1], 12, stop, 1.0, torch.Generator().manual_seed(seed))

    text = write(3)
    assert len(text) == 12
    assert write(3) == text
    assert write(4) != text
    assert write(3, stop=text[5]) == text[: text.index(text[5])]
