"""A retraction says what a full re-run under the new evidence would say, costs no text, and may die at any moment."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.robots import Robots, origin, request_path, request_url
from manifests.audit import QUERIES, audit
from manifests.corpus import Corpus, open_corpus, published_versions, version_folder
from manifests.files import file_sha256
from manifests.schema import CorpusError
from pipeline.addresses import locate
from pipeline.folder import RunError, locked
from pipeline.recipe import RecipeError
from pipeline.retract import retract, url_of
from tests.manifests.build import edit_json, edit_table, fix_digests
from tests.pipeline import dying
from tests.pipeline.crawl import (
    HOSTS,
    ROBOTS,
    files_of,
    make_crawl,
    pages,
    run,
    write_parquet,
    write_snapshot,
)
from tests.pipeline.test_atomicity import CONTEXT, assert_vouches_only_for_whole_files
from tests.pipeline.test_reading import write_warc

# Documents leave at every kind of stage, and labels change on the way.
RECIPE = """
name = "test"
[source.web]
path = "pages"
kind = "web"
[source.shelf]
path = "books"
kind = "books"
[policy.web]
robots = { snapshot = "robots.parquet" }
license = {}
language = { given = "trust", languages = ["eng", "nld"] }
pii = {}
[policy.books]
robots = { snapshot = "robots.parquet", star = "ignore", unknown = "exclude" }
[[policy.books.filters]]
name = "datatrove.pipeline.filters.GopherQualityFilter"
args = { min_doc_words = 60, min_stop_words = 0, min_avg_word_length = 1 }
[output]
row_group_rows = 20
"""
BODIES: list[tuple[int, bytes | None]] = [
    (200, b"User-agent: *\nDisallow:\n"),
    (200, b"User-agent: *\nDisallow: /cart\n"),
    (200, b"User-agent: *\nDisallow: /news\n"),
    (200, b"User-agent: GPTBot\nDisallow: /*7\n"),
    (200, b"User-agent: GPTBot\nUser-agent: CCBot\nDisallow: /\n"),
    (200, b"\n\nUser-agent: *\nDisallow: /\n"),
    (404, None),
    (503, None),
    (200, b"<html>"),
]
BARS_ALL = [(200, b"User-agent: GPTBot\nDisallow: /\n"), (200, b"# no\nUser-agent: CCBot\nDisallow: /\n")]


def make_corpus(folder: Path, rows: int = 60, robots: dict | None = None) -> Path:
    """Pages of two sources with licence marks and three languages, a snapshot, a recipe; returns the recipe."""
    for name, seeds in (("pages", (0, 1)), ("books", (2,))):
        for seed in seeds:
            made = pages(rows, seed=seed)
            for number, row in enumerate(made):
                row["language"] = ("eng", "nld", "deu")[number % 3 if number % 2 else 0]
                if number % 11 == 0:
                    row["text"] += " All rights reserved. https://creativecommons.org/licenses/by-nc/4.0/"
                if number % 17 == 0:
                    row["url"] = None
            write_parquet(folder / name / f"{seed:03d}.parquet", made)
    write_snapshot(folder / "robots.parquet", robots)
    path = folder / "recipe.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a recipe and its corpus at out/, to be copied."""
    folder = tmp_path_factory.mktemp("retract")
    run(make_corpus(folder), folder / "out")
    return folder


@pytest.fixture
def place(made, tmp_path) -> Path:
    shutil.copytree(made, tmp_path / "place")
    return tmp_path / "place"


def under(recipe: Path, snapshot: Path, out: Path, *overrides: str):
    """Curate with another snapshot."""
    names = [f"policy.{kind}.robots.snapshot={snapshot}" for kind in ("web", "books")]
    return run(recipe, out, *names, *overrides)


def rows_of(corpus: Corpus) -> dict[tuple[str, int], list]:
    """Everything that the tables say of each document, but for its place in a shard."""
    found: dict[tuple[str, int], list] = {}
    for table in ("kept", "decisions"):
        for path in corpus.tables(table):
            for row in pq.read_table(path).to_pylist():
                row.pop("shard", None)
                row.pop("shard_row", None)
                found.setdefault((Path(path).stem, row["file_row"]), []).append(row)
    return found


def assert_sound(corpus: Corpus) -> None:
    failed = [check for check in audit(corpus).checks if not check.passed]
    assert not failed, failed


STRICTER = {
    **ROBOTS,
    "open.example": (200, b"User-agent: *\nDisallow: /news\n"),
    "gone.example": (200, b"User-agent: GPTBot\nDisallow: /\n"),
}


def test_a_retraction_has_the_root_of_a_full_re_run_and_is_sound(place):
    write_snapshot(place / "newer.parquet", STRICTER)
    found = retract(place / "out", place / "newer.parquet")
    scratch = under(place / "recipe.toml", place / "newer.parquet", place / "scratch").corpus
    assert found.published
    assert found.documents > 0
    assert found.corpus.version == 2
    assert found.corpus.run["parent"] == 1
    assert found.corpus.root == scratch.root
    assert found.corpus.run["roots"]["corpus"] == scratch.root
    assert found.corpus.run["totals"] == scratch.run["totals"]
    assert rows_of(found.corpus) == rows_of(scratch)
    assert_sound(found.corpus)


def test_the_texts_left_are_the_same_and_no_withdrawn_one_is_on_disk(place):
    before = {row["id"]: row for shard in open_corpus(place / "out").shards for row in read(shard.path)}
    write_snapshot(place / "newer.parquet", STRICTER)
    found = retract(place / "out", place / "newer.parquet")
    after = {row["id"]: row for path in (place / "out" / "shards").rglob("*.parquet") for row in read(path)}
    assert after.items() <= before.items()
    assert len(before) - len(after) == found.documents
    for row in before.keys() - after.keys():
        host, path = re.match(r"https://([^/]+)(/.*)", before[row]["url"]).groups()
        assert host == "gone.example" or (host == "open.example" and path.startswith("/news"))


def read(path: Path) -> list[dict]:
    return pq.read_table(path, partitioning=None).to_pylist()


@pytest.mark.parametrize("seed", range(4))
def test_random_changes_of_mind_end_in_the_root_of_a_full_re_run(place, seed):
    random_changes(place, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4, 60))
def test_many_random_changes_of_mind_end_in_the_root_of_a_full_re_run(place, seed):
    random_changes(place, seed)


def random_changes(place: Path, seed: int) -> None:
    """Three retractions in a row, each held against a full re-run; in the end curating restores what came back.

    Owners change their minds in both directions, ask for removal, and ask no more; agents change; the snapshot of the
    step before is at hand or not, which must make no difference.
    """
    rng = random.Random(seed)
    recipe, out = place / "recipe.toml", place / "out"
    robots = dict(ROBOTS)
    requests: list[str] = []
    settings: list[str] = []
    previous = place / "robots.parquet"
    for step in range(3):
        for host in rng.sample(HOSTS, rng.randint(1, 3)):
            bars = rng.random() < 0.7
            robots[host] = rng.choice(BARS_ALL if bars else BODIES)
            if rng.random() < 0.1:
                del robots[host]
        date = rng.choice(["2025-01-01", f"2025-02-0{step + 1}"])
        snapshot = write_snapshot(place / f"newer{step}.parquet", robots, date)
        if rng.random() < 0.5:
            previous.unlink()
        previous = snapshot
        takedown = None
        if requests or rng.random() < 0.4:
            requests = rng.sample(["open.example", "https://shop.example/news/", "https://gone.example/cart/*"], 2)
            takedown = place / f"takedown{step}.txt"
            takedown.write_text("".join(f"{line}\n" for line in requests))
            settings = [setting for setting in settings if "takedown" not in setting]
            settings += [f"policy.{kind}.robots.takedown={takedown}" for kind in ("web", "books")]
        agents = rng.choice(["strict", "CCBot,GPTBot"]) if rng.random() < 0.2 else None
        if agents:
            settings = [setting for setting in settings if "agents" not in setting]
            named = "strict" if agents == "strict" else '["CCBot", "GPTBot"]'
            settings += [f"policy.{kind}.robots.agents={named}" for kind in ("web", "books")]
        found = retract(out, snapshot, takedown, agents)
        scratch = under(recipe, snapshot, place / f"scratch{step}", *settings).corpus
        assert_sound(found.corpus)
        left_out = {(row["task"], row["file_row"]) for row in returned_so_far(out)}
        ours, theirs = rows_of(found.corpus), rows_of(scratch)
        differing = {row for row in ours.keys() | theirs.keys() if ours.get(row) != theirs.get(row)}
        assert differing <= left_out
        assert (found.corpus.root == scratch.root) == (not differing)
        assert len(differing) == sum(
            task.get("unrestored") or 0 for task in found.corpus.tasks
        )  # also from steps before
    again = under(recipe, snapshot, out, *settings)
    assert again.corpus.root == scratch.root
    if not any("agents" in setting for setting in settings):  # another policy runs again, to the same root
        assert set(again.ran) == {task for task, _ in differing}


def test_only_hosts_that_two_snapshots_tell_differently_about_are_decided_again(place, monkeypatch):
    asked: list[str] = []
    decide = Robots.decide

    def counting(stage, documents):
        asked.extend(document.metadata["url"] for document in documents)
        return decide(stage, documents)

    monkeypatch.setattr(Robots, "decide", counting)
    write_snapshot(place / "newer.parquet", STRICTER)
    known = retract(place / "out", place / "newer.parquet", dry_run=True)
    assert {origin(url)[0] for url in asked} == {"open.example", "gone.example"}
    (place / "robots.parquet").rename(place / "elsewhere.parquet")
    named = retract(place / "out", place / "newer.parquet", dry_run=True, was=place / "elsewhere.parquet")
    assert {origin(url)[0] for url in asked} == {"open.example", "gone.example"}
    unknown = retract(place / "out", place / "newer.parquet", dry_run=True)
    assert len({origin(url)[0] for url in asked}) > 2
    assert known.tombstones == named.tombstones == unknown.tombstones
    with pytest.raises(RecipeError, match="not the snapshot that the corpus was decided under"):
        retract(place / "out", place / "newer.parquet", was=place / "newer.parquet")


def test_another_date_of_the_same_statements_reads_no_shard_and_ends_in_the_root_of_a_full_re_run(place, monkeypatch):
    from pipeline import retract as module

    write_snapshot(place / "newer.parquet", ROBOTS, "2025-03-03")
    monkeypatch.setattr(module, "kept_urls", lambda *_: pytest.fail("no kept document is concerned"))
    found = retract(place / "out", place / "newer.parquet")
    assert found.published
    assert found.documents == 0
    scratch = under(place / "recipe.toml", place / "newer.parquet", place / "scratch").corpus
    assert found.corpus.root == scratch.root


def returned_so_far(out: Path) -> list[dict]:
    corpora = [open_corpus(out, version) for version in published_versions(out)]
    return [row for corpus in corpora for path in corpus.tables("returned") for row in read(Path(path))]


def test_what_came_back_is_reported_and_is_all_that_a_full_re_run_has_more(place):
    opened = {**STRICTER, "barred.example": (200, b"User-agent: *\nDisallow: /cart\n")}
    write_snapshot(place / "newer.parquet", opened)
    found = retract(place / "out", place / "newer.parquet")
    scratch = under(place / "recipe.toml", place / "newer.parquet", place / "scratch").corpus
    listed = {(row["task"], row["file_row"]) for row in found.returned.to_pylist()}
    assert listed
    assert {row["rhost"] for row in found.returned.to_pylist()} == {"example.barred"}
    ours, theirs = rows_of(found.corpus), rows_of(scratch)
    assert {row for row in ours if ours[row] != theirs[row]} == listed
    assert found.corpus.root != scratch.root
    assert read(Path(found.corpus.tables("returned")[0])) == found.returned.to_pylist()
    assert_sound(found.corpus)


def test_curating_again_restores_exactly_what_came_back(place):
    write_snapshot(place / "newer.parquet", {**STRICTER, "closed.example": (404, None)})
    found = retract(place / "out", place / "newer.parquet")
    again = under(place / "recipe.toml", place / "newer.parquet", place / "out")
    scratch = under(place / "recipe.toml", place / "newer.parquet", place / "scratch").corpus
    assert set(again.ran) == {row["task"] for row in found.returned.to_pylist()}
    assert again.corpus.root == scratch.root
    assert_sound(again.corpus)


def test_curating_with_the_new_snapshot_afterwards_has_nothing_to_do(place):
    write_snapshot(place / "newer.parquet", STRICTER)
    found = retract(place / "out", place / "newer.parquet")
    before = files_of(place / "out")
    again = under(place / "recipe.toml", place / "newer.parquet", place / "out")
    assert again.unchanged
    assert again.corpus.version == found.corpus.version
    assert files_of(place / "out") == before


def test_curating_with_the_old_snapshot_afterwards_goes_back(place):
    first = open_corpus(place / "out").root
    write_snapshot(place / "newer.parquet", STRICTER)
    retract(place / "out", place / "newer.parquet")
    back = run(place / "recipe.toml", place / "out").corpus
    assert back.version == 3
    assert back.root == first


def test_the_same_snapshot_again_retracts_nothing_and_writes_nothing(place):
    before = files_of(place / "out")
    found = retract(place / "out", place / "robots.parquet")
    assert not found.published
    assert found.documents == 0
    assert found.tasks == 0
    assert files_of(place / "out") == before


def test_a_second_retraction_under_the_same_evidence_retracts_nothing(place):
    write_snapshot(place / "newer.parquet", STRICTER)
    retract(place / "out", place / "newer.parquet")
    before = files_of(place / "out")
    assert not retract(place / "out", place / "newer.parquet").published
    assert files_of(place / "out") == before


def test_only_tasks_with_affected_hosts_get_new_tables_and_only_their_shards_new_names(tmp_path):
    recipe = make_crawl(tmp_path, files=2, rows=40)
    alone = pages(30, seed=5, contact=False)
    for row in alone:
        row["url"] = row["url"].replace(row["url"].split("/")[2], "alone.example")
    write_parquet(tmp_path / "pages" / "alone.parquet", alone)
    first = run(recipe, tmp_path / "out", "output.shard_bytes=1", "output.row_group_rows=8").corpus
    write_snapshot(tmp_path / "newer.parquet", {**ROBOTS, "alone.example": (200, b"User-agent: *\nDisallow: /news/\n")})
    found = retract(tmp_path / "out", tmp_path / "newer.parquet")
    assert found.tasks == 1
    for task in ("web-000", "web-001"):
        for name in ("kept", "decisions", "evidence"):
            old, new = (version_folder(tmp_path / "out", version) / name / f"{task}.parquet" for version in (1, 2))
            assert old.stat().st_ino == new.stat().st_ino
    stayed = {shard.name for shard in first.shards} & {shard.name for shard in found.corpus.shards}
    withdrawn = set(found.tombstones.column("shard").to_pylist())
    assert stayed == {shard.name for shard in first.shards} - withdrawn
    assert found.rewritten == len(withdrawn) < len([shard for shard in first.shards if shard.task == "web-alone"])
    assert_sound(found.corpus)


def test_a_host_that_takes_everything_back_leaves_no_empty_shard(tmp_path):
    recipe = make_crawl(tmp_path, files=1, rows=20)
    first = run(recipe, tmp_path / "out").corpus
    write_snapshot(tmp_path / "newer.parquet", dict.fromkeys([*HOSTS, "xn--msli-0ra.example"], BARS_ALL[0]))
    found = retract(tmp_path / "out", tmp_path / "newer.parquet")
    assert found.documents == first.run["totals"]["kept"]
    assert found.corpus.shards == []
    assert not (tmp_path / "out" / "shards").exists() or not list((tmp_path / "out" / "shards").rglob("*.parquet"))
    assert (
        found.corpus.root
        == run(recipe, tmp_path / "s", f"policy.web.robots.snapshot={tmp_path}/newer.parquet").corpus.root
    )
    assert_sound(found.corpus)


def test_partition_by_language_is_kept(tmp_path):
    recipe = make_crawl(tmp_path, files=1, rows=60)
    run(recipe, tmp_path / "out", "output.partition=language")
    write_snapshot(tmp_path / "newer.parquet", STRICTER)
    found = retract(tmp_path / "out", tmp_path / "newer.parquet")
    assert found.rewritten
    assert all(shard.name.startswith("shards/eng_Latn/") for shard in found.corpus.shards)
    assert_sound(found.corpus)


def test_tombstones_say_where_each_document_was_and_why_it_went(place):
    parent = open_corpus(place / "out")
    kept = {(Path(path).stem, row["file_row"]): row for path in parent.tables("kept") for row in read(Path(path))}
    write_snapshot(place / "newer.parquet", STRICTER)
    found = retract(place / "out", place / "newer.parquet")
    stones = read(Path(found.corpus.tables("tombstones")[0]))
    assert len(stones) == found.documents == sum(documents for _, documents, _ in found.hosts())
    assert found.text_bytes == sum(stone["text_bytes"] for stone in stones)
    pieces = {row["evidence_id"]: row for path in found.corpus.tables("evidence") for row in read(Path(path))}
    for stone in stones:
        row = kept[stone["task"], stone["file_row"]]
        assert all(stone[name] == row[name] for name in ("key", "rhost", "shard", "shard_row", "text_bytes"))
        assert pieces[stone["evidence_id"]]["rule"].startswith("Disallow: /")
    assert found.agents["GPTBot"] == len(stones)


def test_a_dry_run_says_what_would_go_and_writes_nothing(place):
    before = files_of(place / "out")
    write_snapshot(place / "newer.parquet", {**STRICTER, "barred.example": (404, None)})
    dry = retract(place / "out", place / "newer.parquet", dry_run=True)
    assert not dry.published
    assert files_of(place / "out") == before
    wet = retract(place / "out", place / "newer.parquet")
    assert dry.hosts() == wet.hosts()
    assert dry.agents == wet.agents
    assert dry.rewritten == wet.rewritten
    assert dry.returned == wet.returned
    assert (dry.documents, dry.text_bytes) == (wet.documents, wet.text_bytes)


def test_old_shards_go_after_publication_and_stay_when_asked(place):
    shutil.copytree(place, place.parent / "other")
    other = place.parent / "other"
    old = {shard.name for shard in open_corpus(place / "out").shards}
    write_snapshot(place / "newer.parquet", STRICTER)
    retract(place / "out", place / "newer.parquet")
    retract(other / "out", place / "newer.parquet", keep_old=True)
    on_disk = {path.relative_to(place / "out").as_posix() for path in (place / "out" / "shards").rglob("*.parquet")}
    assert on_disk == {shard.name for shard in open_corpus(place / "out").shards}
    assert old - on_disk
    assert all((other / "out" / name).is_file() for name in old)
    open_corpus(other / "out", 1).verify_shards()


def test_other_agents_decide_as_a_recipe_with_them_would(place):
    found = retract(place / "out", place / "robots.parquet", agents="Googlebot")
    named = 'policy.{}.robots.agents=["Googlebot"]'
    scratch = run(place / "recipe.toml", place / "scratch", named.format("web"), named.format("books")).corpus
    assert len(found.returned) > 0
    ours, theirs = rows_of(found.corpus), rows_of(scratch)
    listed = {(row["task"], row["file_row"]) for row in found.returned.to_pylist()}
    assert {row for row in ours if ours[row] != theirs[row]} == listed
    assert found.corpus.run["recipe"]["policy"]["web"]["robots"]["agents"] == ["Googlebot"]
    back = run(place / "recipe.toml", place / "out")
    assert back.corpus.root == open_corpus(place / "out", 1).root


def test_a_longer_list_of_agents_by_name_retracts(tmp_path):
    recipe = make_crawl(tmp_path, files=1)
    narrow = ('policy.web.robots.agents=["CCBot"]',)
    run(recipe, tmp_path / "out", *narrow)
    found = retract(tmp_path / "out", tmp_path / "robots.parquet", agents="paper")
    assert {rhost for rhost, _, _ in found.hosts()} == {"example.closed"}
    assert len(found.returned) == 0
    assert found.corpus.root == run(recipe, tmp_path / "scratch").corpus.root


def test_what_cannot_be_used_is_refused_with_the_remedy(place):
    (place / "bad.parquet").write_bytes(b"no")
    with pytest.raises(RecipeError, match="not a Parquet file"):
        retract(place / "out", place / "bad.parquet")
    with pytest.raises(RecipeError, match="no such file"):
        retract(place / "out", place / "missing.parquet")
    with pytest.raises(RecipeError, match="give --robots"):
        retract(place / "out")
    with pytest.raises(RecipeError, match=r"papre.*paper"):
        retract(place / "out", place / "robots.parquet", agents="papre")
    with pytest.raises(CorpusError, match="no published corpus"):
        retract(place / "nowhere", place / "robots.parquet")
    with locked(place / "out"), pytest.raises(RunError, match="another run"):
        retract(place / "out", place / "robots.parquet")


@pytest.mark.parametrize("what", ["shard", "kept", "record"])
def test_a_damaged_corpus_is_not_passed_on(place, what):
    corpus = open_corpus(place / "out")
    write_snapshot(place / "newer.parquet", STRICTER)
    stones = retract(place / "out", place / "newer.parquet", dry_run=True).tombstones
    task = stones.column("task")[0].as_py()
    if what == "shard":
        path = place / "out" / stones.column("shard")[0].as_py()
        edit_table(path, lambda rows: [{**rows[0], "text": "another"}, *rows[1:]])
    elif what == "kept":
        edit_table(corpus.manifest / "kept" / f"{task}.parquet", lambda rows: rows[1:])
    else:
        edit_json(corpus.manifest / "tasks" / f"{task}.json", lambda record: record.update(kept=0))
    with pytest.raises(CorpusError, match="altered"):
        retract(place / "out", place / "newer.parquet")
    assert published_versions(place / "out") == [1]


def test_a_takedown_at_intake_where_a_source_consults_no_robots_txt(tmp_path):
    recipe = make_crawl(tmp_path, files=2, rows=60)
    run(recipe, tmp_path / "out", "policy.web.robots=false")
    (tmp_path / "takedown.txt").write_text("# asked by mail\nopen.example\nhttps://shop.example/news/\n")
    found = retract(tmp_path / "out", takedown=tmp_path / "takedown.txt")
    assert {rhost for rhost, _, _ in found.hosts()} == {"example.open", "example.shop"}
    assert set(found.tombstones.column("reason").to_pylist()) == {"takedown"}
    left = [row["url"] for shard in found.corpus.shards for row in read(shard.path)]
    assert not [url for url in left if "//open.example/" in url or url.startswith("https://shop.example/news/")]
    assert [url for url in left if url.startswith("https://shop.example/cart/")]
    assert_sound(found.corpus)
    assert not retract(tmp_path / "out", takedown=tmp_path / "takedown.txt").published


def test_a_takedown_withdraws_where_robots_txt_allows(place):
    (place / "takedown.txt").write_text("open.example\n")
    with pytest.raises(RecipeError, match="give --robots as well"):
        retract(place / "out", takedown=place / "takedown.txt")
    found = retract(place / "out", place / "robots.parquet", place / "takedown.txt")
    assert {rhost for rhost, _, _ in found.hosts()} == {"example.open"}
    assert set(found.tombstones.column("reason").to_pylist()) == {"takedown"}
    assert_sound(found.corpus)
    with pytest.raises(RecipeError, match=r"curated with the takedown list takedown\.txt"):
        retract(place / "out", place / "robots.parquet")


def test_a_recipe_with_the_takedown_list_finds_the_retraction_current_and_has_its_root(place):
    (place / "takedown.txt").write_text("open.example\nhttps://shop.example/news/\n")
    found = retract(place / "out", place / "robots.parquet", place / "takedown.txt")
    listed = [f"policy.{kind}.robots.takedown={place}/takedown.txt" for kind in ("web", "books")]
    assert run(place / "recipe.toml", place / "scratch", *listed).corpus.root == found.corpus.root
    assert run(place / "recipe.toml", place / "out", *listed).unchanged
    recorded = open_corpus(place / "scratch").run["recipe"]["policy"]["web"]["robots"]
    assert recorded["takedown"] == "takedown.txt"


# -- what a page said itself

WARC_RECIPE = """
name = "test"
[source.web]
path = "page.warc"
kind = "web"
[policy.web]
robots = { snapshot = "robots.parquet" }
"""


FERRY = b"<html><body><article>%b</article>" % (b"<p>The ferry leaves the harbour at nine in the morning.</p>" * 20)


def reserved_site(path: Path, tdmrep: bytes | None, robots: bytes = b"User-agent: *\nAllow: /\n") -> Path:
    schema = pa.schema([("host", pa.string()), ("status", pa.int16()), ("body", pa.binary()), ("tdmrep", pa.binary())])
    row = {"host": "site.example", "status": 200, "body": robots, "tdmrep": tdmrep}
    pq.write_table(pa.Table.from_pylist([row], schema=schema), path)
    return path


def test_a_page_s_own_yes_is_not_on_record_so_its_site_s_new_no_counts_until_the_page_is_read_again(tmp_path):
    html = [("Content-Type", "text/html")]
    write_warc(
        tmp_path / "page.warc",
        [
            ("https://site.example/open", "200 OK", [*html, ("TDM-Reservation", "0")], FERRY),
            ("https://site.example/plain", "200 OK", html, FERRY),
            ("https://site.example/no", "200 OK", [*html, ("X-Robots-Tag", "noai")], FERRY),
        ],
    )
    reserved_site(tmp_path / "robots.parquet", None)
    (tmp_path / "recipe.toml").write_text(WARC_RECIPE)
    first = run(tmp_path / "recipe.toml", tmp_path / "out").corpus
    assert first.run["totals"]["kept"] == 2
    reserved_site(tmp_path / "newer.parquet", b'[{"location": "/", "tdm-reservation": 1}]')
    newer = f"policy.web.robots.snapshot={tmp_path}/newer.parquet"
    scratch = run(tmp_path / "recipe.toml", tmp_path / "scratch", newer).corpus
    assert scratch.run["totals"]["kept"] == 1  # the page that overrules its site
    found = retract(tmp_path / "out", tmp_path / "newer.parquet")
    assert found.documents == 2
    assert len(found.returned) == 0
    assert run(tmp_path / "recipe.toml", tmp_path / "out", newer).corpus.root == scratch.root


def test_a_page_s_own_no_stands_whatever_its_site_says_later(tmp_path):
    headers = [("Content-Type", "text/html"), ("X-Robots-Tag", "noai")]
    write_warc(tmp_path / "page.warc", [("https://site.example/no", "200 OK", headers, FERRY)])
    reserved_site(tmp_path / "robots.parquet", None)
    (tmp_path / "recipe.toml").write_text(WARC_RECIPE)
    run(tmp_path / "recipe.toml", tmp_path / "out")
    reserved_site(tmp_path / "newer.parquet", b'[{"location": "/", "tdm-reservation": 0}]', b"# all welcome\n")
    found = retract(tmp_path / "out", tmp_path / "newer.parquet")
    assert (found.documents, len(found.returned)) == (0, 0)
    newer = f"policy.web.robots.snapshot={tmp_path}/newer.parquet"
    assert run(tmp_path / "recipe.toml", tmp_path / "scratch", newer).corpus.root == found.corpus.root


# -- the audit


FORGERIES: dict[str, Callable[[list[dict]], list[dict]]] = {
    "dropped": lambda rows: rows[1:],
    "doubled": lambda rows: [rows[0], *rows],
    "of another row": lambda rows: [{**rows[0], "file_row": 10_000}, *rows[1:]],
    "of another place": lambda rows: [{**rows[0], "shard_row": rows[0]["shard_row"] + 1}, *rows[1:]],
    "for another reason": lambda rows: [{**rows[0], "reason": "host_unknown"}, *rows[1:]],
    "on other evidence": lambda rows: [{**rows[0], "evidence_id": 7}, *rows[1:]],
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_the_audit_finds_a_forged_tombstone_though_all_digests_fit(place, forgery):
    write_snapshot(place / "newer.parquet", STRICTER)
    found = retract(place / "out", place / "newer.parquet")
    edit_table(found.corpus.manifest / "tombstones.parquet", FORGERIES[forgery])
    fix_digests(place / "out", 2)
    failed = {check.name for check in audit(open_corpus(place / "out")).checks if not check.passed}
    assert failed == {"tombstones"}


def test_the_audit_finds_a_document_listed_as_returned_that_is_not_excluded(place):
    write_snapshot(place / "newer.parquet", {**STRICTER, "barred.example": (404, None)})
    found = retract(place / "out", place / "newer.parquet")
    edit_table(found.corpus.manifest / "returned.parquet", lambda rows: [{**rows[0], "file_row": 9_999}, *rows[1:]])
    fix_digests(place / "out", 2)
    failed = {check.name for check in audit(open_corpus(place / "out")).checks if not check.passed}
    assert failed == {"tombstones"}


def test_the_audit_goes_without_a_parent_that_is_gone(place):
    write_snapshot(place / "newer.parquet", STRICTER)
    found = retract(place / "out", place / "newer.parquet")
    shutil.rmtree(version_folder(place / "out", 1))
    result = audit(found.corpus)
    assert result.passed
    assert "not compared" in next(check.detail for check in result.checks if check.name == "tombstones")


def test_the_query_about_tombstones_runs_by_hand_as_its_comment_says(place):
    write_snapshot(place / "newer.parquet", STRICTER)
    retract(place / "out", place / "newer.parquet")
    file = QUERIES / "14_tombstones.sql"
    comment = next(line for line in file.read_text().splitlines() if line.startswith("-- sed"))
    program = re.fullmatch(r'-- sed -E "(.*)" 14_tombstones\.sql \| duckdb', comment)
    assert program
    query = subprocess.run(["sed", "-E", program[1], str(file)], capture_output=True, text=True, check=True).stdout
    query = query.replace("'manifests/", f"'{place}/out/manifests/")
    assert "$" not in re.sub(r"--[^\n]*", "", query)
    assert duckdb.sql(query).fetchall() == []
    edit_table(place / "out/manifests/v0002/tombstones.parquet", lambda rows: rows[1:])
    assert len(duckdb.sql(query).fetchall()) == 1


# -- death


def _die_at_rename(place: Path, count: int, after: bool) -> None:
    dying.die_at_rename(count, after)
    retract(place / "out", place / "newer.parquet")


@pytest.mark.parametrize(
    "after", [pytest.param(False, id="before"), pytest.param(True, id="after", marks=pytest.mark.slow)]
)
def test_death_at_every_rename_leaves_the_old_or_the_new_version_whole(tmp_path, after):
    recipe = make_crawl(tmp_path, files=2, rows=30)
    out = tmp_path / "out"
    first = run(recipe, out).corpus.root
    write_snapshot(tmp_path / "newer.parquet", STRICTER)
    shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-calm")
    calm = tmp_path.parent / f"{tmp_path.name}-calm"
    second = retract(calm / "out", calm / "newer.parquet").corpus.root
    deaths = 0
    for count in range(1, 200):
        child = CONTEXT.Process(target=_die_at_rename, args=(tmp_path, count, after))
        child.start()
        child.join()
        assert_vouches_only_for_whole_files(out)
        corpus = open_corpus(out)
        assert corpus.root in (first, second)
        assert (corpus.version == 1) == (corpus.root == first)
        if corpus.version == 1 and count % 7 == 0:
            assert run(recipe, out).unchanged  # a run with the old snapshot clears what the retraction left
        if child.exitcode == 0:
            break
        deaths += 1
    assert deaths >= 10
    retract(out, tmp_path / "newer.parquet")
    assert files_of(out) == files_of(calm / "out")
    assert set((out / "shards").rglob("*.parquet")) == {shard.path for shard in open_corpus(out).shards}


# -- what a decision keeps of a URL is enough to ask robots.txt again


_PIECES = ["/", "\\", "?", "#", ";", "//", "@", ":8080", ":80", ":443", "%2f", "ü", "*", " ", "x", "y=1", "..", "\t"]
_HOSTS = ["a.example", "EXAMPLE.org.", "[::1]", "1.2.3.4", "user:p@b.example", "müsli.example", "c.example:80"]
_urls = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["http://", "https://", "HTTPS://", "//", " https://", "ftp://"]),
        st.sampled_from(_HOSTS),
        st.lists(st.sampled_from(_PIECES), max_size=6).map(lambda pieces: "/" + "".join(pieces)) | st.just(""),
    ),
)


@settings(max_examples=300, deadline=None)
@given(_urls)
def test_host_and_path_of_a_record_ask_robots_txt_what_the_url_asked(url):
    rhost, path = locate(url)
    assert rhost is not None
    again = url_of(rhost, path)
    assert origin(again) == origin(url)
    assert request_path(request_url(again)) == request_path(request_url(url))


def test_every_file_of_a_version_is_vouched_for(place):
    write_snapshot(place / "newer.parquet", STRICTER)
    corpus = retract(place / "out", place / "newer.parquet").corpus
    corpus.verify_manifest()
    corpus.verify_shards()
    for name in ("tombstones", "returned"):
        (path,) = corpus.tables(name)
        assert corpus.run["tables"][name]["sha256"] == file_sha256(path)
