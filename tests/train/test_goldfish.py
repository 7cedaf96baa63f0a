"""Goldfish masks: the published one held against its definition in plain integers, ours against its laws."""

# ruff: noqa: E402 - without torch nothing below the skip must be imported
from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")

from hypothesis import given, settings
from hypothesis import strategies as st

from train import goldfish
from train.goldfish import Goldfish, Variant, keep_mask, reference_keep_mask

token_rows = st.integers(1, 40).flatmap(
    lambda length: st.lists(
        st.lists(st.one_of(st.integers(0, 5), st.integers(0, 200_000)), min_size=length, max_size=length),
        min_size=1,
        max_size=3,
    )
)


def zipf_tokens(count: int, seed: int, vocabulary: int = 50_000) -> torch.Tensor:
    """Token ids as text has them: few ids make most of it."""
    generator = torch.Generator().manual_seed(seed)
    return (vocabulary ** torch.rand(count, generator=generator, dtype=torch.float64)).long()


def reference_in_plain_integers(rows: list[list[int]], k: int, h: int) -> list[list[bool]]:
    """The definition, one target at a time, with Python's unbounded integers wrapped by hand."""
    generator = torch.Generator().manual_seed(2971215073)
    table = torch.rand(1_000_003, generator=generator)
    threshold = torch.tensor(1.0 / k, dtype=torch.float32)
    masks = []
    for row in rows:
        mask = [True] * len(row)
        for last in range(h - 1, len(row)):
            product = 1
            for token in row[last - h + 1 : last + 1]:
                product *= token
            product = (product + 2**63) % 2**64 - 2**63
            mask[last] = not bool(table[product % 1_000_003] < threshold)
        masks.append(mask)
    return masks


def ours_in_plain_integers(rows: list[list[int]], documents: list[list[int]], k: int, h: int) -> list[list[bool]]:
    """The definition: hash of the window within the document, highest weight first, then the finaliser.

    But for its last step, which leaves the high bits, which decide, as they are.
    """
    masks = []
    for row, owners in zip(rows, documents, strict=True):
        mask = []
        for last in range(len(row)):
            first = last
            while first > 0 and owners[first - 1] == owners[last] and last - first + 1 < h:
                first -= 1
            value = 0
            for token in row[first : last + 1]:
                value = (value * goldfish._BASE + token + 1) % 2**64
            for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
                value = (value ^ value >> 33) * multiplier % 2**64
            mask.append(value >= 2**64 // k)
        masks.append(mask)
    return masks


@settings(deadline=None, max_examples=60)
@given(token_rows, st.sampled_from([1, 2, 3, 4, 8, 50, 128]), st.sampled_from([1, 2, 3, 5, 13, 50]))
def test_reference_equals_its_definition_in_plain_integers(rows: list[list[int]], k: int, h: int) -> None:
    assert reference_keep_mask(torch.tensor(rows), k, h).tolist() == reference_in_plain_integers(rows, k, h)


@pytest.mark.parametrize(("k", "h"), [(50, 50), (4, 13)])
def test_reference_equals_its_definition_where_the_product_overflows(k: int, h: int) -> None:
    rows = torch.stack([zipf_tokens(400, seed=1, vocabulary=131_072), 2 * zipf_tokens(400, seed=2)]).tolist()
    mask = reference_keep_mask(torch.tensor(rows), k, h)
    assert mask.tolist() == reference_in_plain_integers(rows, k, h)
    assert not mask.all()


def test_reference_table_starts_with_the_published_numbers() -> None:
    table = goldfish._reference_table(torch.device("cpu"))
    assert table.dtype == torch.float32
    assert table[:2].tolist() == pytest.approx([0.23368, 0.44126], abs=1e-5)


def test_reference_reproduces_the_defect_of_token_zero() -> None:
    tokens = torch.randint(2, 1000, (1, 200))
    tokens[:, ::10] = 0
    assert not reference_keep_mask(tokens, 4, 13)[:, 12:].any()
    assert keep_mask(tokens, 4, 13)[:, 12:].float().mean() > 0.5


@settings(deadline=None, max_examples=60)
@given(
    token_rows,
    st.randoms(use_true_random=False),
    st.sampled_from([1, 2, 3, 4, 50]),
    st.sampled_from([1, 2, 3, 5, 13, 50]),
)
def test_keep_mask_equals_its_definition_in_plain_integers(rows: list[list[int]], random, k: int, h: int) -> None:
    documents = [[random.choice([7, 7, 7, 8, 9])] * len(row) for row in rows]
    for owners in documents:
        for place in range(len(owners)):
            owners[place] = random.choice([owners[place - 1], owners[place - 1], owners[place - 1], 7, 8])
    mask = keep_mask(torch.tensor(rows), k, h, torch.tensor(documents))
    assert mask.tolist() == ours_in_plain_integers(rows, documents, k, h)


def test_without_document_ids_each_row_is_one_document() -> None:
    tokens = torch.randint(0, 100, (3, 50))
    ids = torch.arange(3)[:, None].expand(3, 50)
    assert torch.equal(keep_mask(tokens, 3, 13), keep_mask(tokens, 3, 13, ids))


@pytest.mark.parametrize("k", [2, 3, 4, 50])
@pytest.mark.parametrize("h", [13, 50])
def test_drop_rate_is_one_in_k(k: int, h: int) -> None:
    tokens = zipf_tokens(1_000_000, seed=k).view(250, 4000)
    rate = 1 - keep_mask(tokens, k, h).double().mean().item()
    # four standard deviations of a binomial draw; windows of text this long hardly repeat
    assert abs(rate - 1 / k) < 4 * ((1 / k) * (1 - 1 / k) / tokens.numel()) ** 0.5


def test_spans_of_500_tokens_without_a_drop_are_as_rare_as_chance_has_them() -> None:
    """0.98^500 = 0.004 %; the reference leaves 0.65 to 18 % of such spans of text whole."""
    dropped = ~keep_mask(2 * zipf_tokens(500_000, seed=3)[None], 50, 50)[0]
    counts = torch.cumsum(dropped, 0)
    whole = (counts[500:] == counts[:-500]).double().mean().item()
    assert whole < 0.001


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 100), st.integers(0, 100), st.integers(1, 60), st.integers(0, 2**32))
def test_a_document_drops_the_same_tokens_at_any_offset_beside_any_neighbour(
    before: int, after: int, h: int, seed: int
) -> None:
    document = zipf_tokens(80, seed=seed)
    alone = keep_mask(document[None], 3, h)[0]
    row = torch.cat([zipf_tokens(before, seed=seed + 1), document, zipf_tokens(after, seed=seed + 2)])
    owners = torch.cat([torch.full((before,), 4), torch.full((80,), 9), torch.full((after,), 2)])
    packed = keep_mask(row[None], 3, h, owners[None])[0]
    assert torch.equal(packed[before : before + 80], alone)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 100), st.integers(1, 60), st.integers(0, 2**32))
def test_a_passage_inside_another_document_drops_the_same_tokens_after_one_window(
    offset: int, h: int, seed: int
) -> None:
    passage = zipf_tokens(120, seed=seed)
    quoted = torch.cat([zipf_tokens(offset, seed=seed + 1), passage])
    assert torch.equal(
        keep_mask(quoted[None], 3, h)[0, offset + h - 1 :],
        keep_mask(passage[None], 3, h)[0, h - 1 :],
    )


def test_order_decides() -> None:
    tokens = zipf_tokens(100_000, seed=5).view(1000, 100)
    swapped = tokens.clone()
    swapped[:, [60, 61]] = tokens[:, [61, 60]]
    differs = (tokens[:, 60] != tokens[:, 61]).nonzero().squeeze(1)
    a, b = keep_mask(tokens, 2, 13)[differs, 62], keep_mask(swapped, 2, 13)[differs, 62]
    assert 0.4 < (a != b).double().mean().item() < 0.6


def test_exempt_tokens_are_never_dropped() -> None:
    tokens = zipf_tokens(5000, seed=6)[None] % 20
    mask = keep_mask(tokens, 2, 4, exempt=(1, 2))
    assert mask[(tokens == 1) | (tokens == 2)].all()
    assert not mask[tokens == 3].all()


def test_rows_shorter_than_the_window_are_masked_by_ours_and_kept_whole_by_the_reference() -> None:
    tokens = torch.arange(64).view(8, 8)
    assert reference_keep_mask(tokens, 2, 50).all()
    assert 0.2 < keep_mask(tokens, 2, 50).double().mean().item() < 0.8


def test_masks_do_not_alter_their_input() -> None:
    tokens = zipf_tokens(100, seed=7).view(2, 50)
    before = tokens.clone()
    keep_mask(tokens, 3, 5, torch.zeros_like(tokens), exempt=(1,))
    reference_keep_mask(tokens, 3, 5)
    assert torch.equal(tokens, before)


def test_empty_rows_give_empty_masks() -> None:
    empty = torch.zeros((2, 0), dtype=torch.int64)
    assert keep_mask(empty, 3, 5, empty).shape == (2, 0)
    assert reference_keep_mask(empty, 3, 5).shape == (2, 0)


@pytest.mark.parametrize("mask", [keep_mask, reference_keep_mask])
def test_impossible_arguments_are_refused(mask) -> None:
    tokens = torch.zeros((1, 4), dtype=torch.int64)
    with pytest.raises(ValueError, match="k >= 1"):
        mask(tokens, 0, 3)
    with pytest.raises(ValueError, match="h >= 1"):
        mask(tokens, 3, 0)
    with pytest.raises(ValueError, match="int64"):
        mask(tokens.int(), 3, 3)


def test_context_is_what_a_row_needs_from_before_it() -> None:
    assert Goldfish(Variant.DEFAULT, 50, 50).context == 48
    assert Goldfish(Variant.DEFAULT, 50, 1).context == 0
    assert Goldfish(Variant.REFERENCE, 50, 50).context == 0
