"""Policies compared on a published corpus say what curating under each of them would exclude."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from manifests.corpus import open_corpus
from pipeline import reconsider
from pipeline.compare import Comparison, compare_policies
from pipeline.terminal import UsageError
from tests.pipeline.crawl import ROBOTS, make_crawl, run, write_snapshot
from tests.pipeline.test_cli import fairtrove, one_line

SAYS = {
    **ROBOTS,
    "open.example": (200, b"User-agent: PerplexityBot\nDisallow: /news/\n"),  # a search engine: only `strict` minds
    "shop.example": (200, b"User-agent: *\nContent-Signal: ai-train=no\nDisallow: /cart\n"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    recipe = make_crawl(folder, files=2, rows=80)
    write_snapshot(folder / "robots.parquet", SAYS)
    run(recipe, folder / "out")
    return folder


def dropped(found: Comparison) -> dict[str, int]:
    return {drop.policy: drop.dropped.documents for drop in found.drops}


@pytest.mark.parametrize(
    ("policy", "settings"),
    [
        ("paper", []),
        ("strict", ["agents=strict"]),
        ("GPTBot+CCBot", ['agents=["GPTBot", "CCBot"]']),
        ("paper,star=ignore", ["star=ignore"]),
        ("paper,unknown=exclude", ["unknown=exclude"]),
        ("paper,signals=none", ["signals=[]"]),
        ("paper,signals=noai+rsl", ['signals=["noai", "rsl"]']),
    ],
)
def test_a_policy_drops_what_curating_under_it_excludes(place, tmp_path, policy, settings):
    found = compare_policies(open_corpus(place / "out"), place / "robots.parquet", [policy])
    overrides = [f"policy.web.robots.{setting}" for setting in settings]
    curated = run(place / "recipe.toml", tmp_path / "out", *overrides).corpus
    reasons: dict[str, list[int]] = {}
    for path in curated.tables("decisions"):
        for row in pq.read_table(path).to_pylist():
            if row["stage"] == "robots" and row["action"] == "exclude":
                reasons.setdefault(row["reason"], []).append(row["text_bytes"])
    (drop,) = found.drops
    assert {reason: amount.documents for reason, amount in drop.by_reason.items()} == {
        reason: len(sizes) for reason, sizes in reasons.items()
    }
    assert drop.dropped.documents == sum(map(len, reasons.values()))
    assert found.pinned


def test_more_and_less_are_what_one_policy_drops_and_the_first_does_not(place):
    found = compare_policies(open_corpus(place / "out"), place / "robots.parquet", ["paper", "strict,star=ignore"])
    first, second = found.drops
    assert second.more.documents > 0 < second.less.documents
    assert second.dropped.documents == first.dropped.documents + second.more.documents - second.less.documents
    assert second.dropped.text_bytes == first.dropped.text_bytes + second.more.text_bytes - second.less.text_bytes
    assert (first.more.documents, first.less.documents) == (0, 0)
    assert found.asked.documents + found.left_out.documents == open_corpus(place / "out").run["totals"]["rows"]


def test_no_text_is_read(place, monkeypatch):
    read = reconsider.pq.ParquetFile.read_row_group

    def watching(file, group, columns=None, **options):
        assert columns == ["url"]
        return read(file, group, columns=columns, **options)

    monkeypatch.setattr(reconsider.pq.ParquetFile, "read_row_group", watching)
    assert compare_policies(open_corpus(place / "out"), place / "robots.parquet").asked.documents > 0


def test_another_snapshot_is_said_to_be_another(place, tmp_path):
    write_snapshot(tmp_path / "other.parquet", {})
    found = compare_policies(open_corpus(place / "out"), tmp_path / "other.parquet", ["paper"])
    assert not found.pinned
    assert dropped(found) == {"paper": 0}
    assert found.drops[0].unknown.documents == found.asked.documents


def test_the_command_shows_a_table_and_gives_json(place):
    shown = fairtrove("robots", "compare", "out", "robots.parquet", cwd=place)
    assert shown.returncode == 0, shown.stderr
    assert "strict would drop" in shown.stdout
    given = fairtrove("robots", "compare", "out", "robots.parquet", "--policy", "GPTBot", "--json", cwd=place)
    (drop,) = json.loads(given.stdout)["drops"]
    assert drop["policy"] == "GPTBot"
    assert drop["dropped"]["documents"] == sum(amount["documents"] for amount in drop["by_reason"].values()) > 0


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("papr", "paper, strict, training"),
        ("paper,stars=ignore", "no setting 'stars=ignore'"),
        ("paper,star=maybe", 'star is "counts" or "ignore"'),
        ("paper,signals=noa", "did you mean `noai`"),
    ],
)
def test_a_policy_that_cannot_be_read_is_refused_in_one_line(place, policy, words):
    with pytest.raises(UsageError, match=words):
        compare_policies(open_corpus(place / "out"), place / "robots.parquet", [policy])
    result = fairtrove("robots", "compare", "out", "robots.parquet", "--policy", policy, cwd=place)
    assert result.returncode == 2
    assert words in one_line(result)
    assert fairtrove("robots", "compare", "out", "none.parquet", cwd=place).returncode == 2
