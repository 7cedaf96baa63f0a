"""Our stages run in a plain datatrove pipeline; stock datatrove steps run in ours, with their exclusions recorded."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters import LambdaFilter
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

from filters.pii import PII
from filters.robots import Robots
from manifests.schema import ConservationError
from pipeline.executors import CurateStep
from pipeline.recipe import RecipeError
from pipeline.stock import Recorded
from pipeline.task import Job
from tests.pipeline.crawl import RECIPE, make_crawl, pages, planned, run, write_jsonl, write_snapshot

GOPHER = """
[[policy.web.filters]]
name = "datatrove.pipeline.filters.GopherQualityFilter"
args = { min_doc_words = 60, min_stop_words = 0 }
"""


class OneShort(BaseFilter):
    """A filter whose batch answer is one short: datatrove loses the last document of each batch without a word."""

    name = "One short"

    def __init__(self):
        super().__init__(batch_size=10)

    def filter(self, doc: Document) -> bool:
        return True

    def filter_batch(self, batch):
        return [True] * (len(batch) - 1)


class Copies(BaseFilter):
    """A step that passes on copies instead of the documents it was given."""

    name = "Copies"

    def filter(self, doc: Document) -> bool:
        return True

    def run(self, data, rank=0, world_size=1):
        for document in data:
            yield Document(document.text, document.id, metadata=document.metadata)


class Upper(BaseFilter):
    """A step that alters text."""

    name = "Upper"

    def filter(self, doc: Document) -> bool:
        doc.text = doc.text.upper()
        return True


def test_our_stages_run_in_a_plain_datatrove_pipeline(tmp_path):
    rows = pages(200)
    write_jsonl(tmp_path / "in" / "pages.jsonl", rows)
    snapshot = write_snapshot(tmp_path / "robots.parquet")
    LocalPipelineExecutor(
        [
            JsonlReader(str(tmp_path / "in")),
            LambdaFilter(lambda document: "garden" in document.text),
            Robots(str(snapshot), exclusion_writer=JsonlWriter(str(tmp_path / "refused"), compression=None)),
            PII(),
            JsonlWriter(str(tmp_path / "kept"), compression=None),
        ],
        logging_dir=str(tmp_path / "logs"),
    ).run()
    kept = (tmp_path / "kept" / "00000.jsonl").read_text()
    refused = (tmp_path / "refused" / "00000.jsonl").read_text()
    expected = [row for row in rows if "garden" in row["text"]]
    barred = [row for row in expected if "closed.example" in row["url"] or "barred.example" in row["url"]]
    assert 0 < len(barred) <= refused.count("\n")
    assert kept.count("\n") + refused.count("\n") == len(expected)
    assert "closed.example" not in kept
    assert "agent_disallowed" in refused
    assert "<email-pii>" in kept
    assert "@lanternpost.net" not in kept


def test_a_stock_filter_runs_in_ours_with_its_exclusions_in_the_ledger(tmp_path):
    recipe = make_crawl(tmp_path, files=1, rows=40, recipe=RECIPE + GOPHER)
    corpus = run(recipe, tmp_path / "out").corpus
    stage = "filter:GopherQualityFilter"
    counts = [count for task in corpus.tasks for count in task["counts"] if count["stage"] == stage]
    excluded = sum(count["rows"] for count in counts if count["action"] == "exclude")
    assert excluded > 0
    for task in corpus.tasks:
        decisions = pq.read_table(corpus.manifest / "decisions" / f"{task['name']}.parquet").to_pylist()
        evidence = {
            row["evidence_id"]: row
            for row in pq.read_table(corpus.manifest / "evidence" / f"{task['name']}.parquet").to_pylist()
        }
        for decision in decisions:
            if decision["stage"] == stage:
                found = evidence[decision["evidence_id"]]
                assert found["rule"] == "gopher_short_doc"
                assert found["detector"].startswith("GopherQualityFilter@datatrove-")
    assert corpus.run["totals"]["rows"] == corpus.run["totals"]["kept"] + corpus.run["totals"]["excluded"]


def test_a_stock_step_that_alters_text_is_recorded_as_altering(tmp_path):
    recipe = make_crawl(tmp_path, files=1)
    recipe.write_text(RECIPE + f'\n[[policy.web.filters]]\nname = "{__name__}.Upper"\n')
    corpus = run(recipe, tmp_path / "out").corpus
    altered = [c for c in corpus.tasks[0]["counts"] if c["stage"] == "filter:Upper" and c["action"] == "alter"]
    assert sum(count["rows"] for count in altered) == corpus.run["totals"]["kept"]


@pytest.mark.parametrize(
    ("step", "said"), [("OneShort", "neither kept nor excluded"), ("Copies", "must pass on the Document")]
)
def test_a_step_that_loses_documents_ends_in_an_error_not_in_a_smaller_corpus(tmp_path, step, said):
    recipe = make_crawl(tmp_path, files=1)
    recipe.write_text(RECIPE + f'\n[[policy.web.filters]]\nname = "{__name__}.{step}"\n')
    result = run(recipe, tmp_path / "out")
    assert result.corpus is None
    assert said in result.failed[0].error


def test_a_step_that_yields_a_document_twice_ends_in_an_error(tmp_path):
    from filters.decision import Action, Decision
    from manifests.ledger import Entry, Ledger

    ledger = Ledger("task", ["intake"])
    entry = Entry(0, b"k" * 16, None, None, 1)
    ledger.record("intake", [entry], [Decision(Action.KEEP, "read")], [None])
    ledger.keep(entry, "shards/a", 0, b"d" * 16, 1, None, None)
    with pytest.raises(ConservationError, match="row 0 is already written"):
        ledger.keep(entry, "shards/a", 1, b"d" * 16, 1, None, None)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('name = "datatrove.pipeline.filters.NoSuchFilter"', "NoSuchFilter"),
        ('name = "json.JSONDecoder"', "not a datatrove PipelineStep"),
        ('name = "datatrove.pipeline.filters.GopherQualityFilter"\nargs = { min_words = 1 }', "min_words"),
    ],
)
def test_a_stock_filter_that_cannot_be_made_is_an_error_of_the_recipe(tmp_path, table, said):
    recipe = make_crawl(tmp_path, files=1)
    recipe.write_text(RECIPE + f"\n[[policy.web.filters]]\n{table}\n")
    with pytest.raises(RecipeError, match=said):
        planned(recipe)


def test_tasks_run_under_datatroves_own_executor_with_the_same_root(tmp_path):
    from manifests.publish import publish_version
    from pipeline.curate import _run_description

    recipe = make_crawl(tmp_path)
    plan = planned(recipe)
    out = tmp_path / "out"
    jobs = [
        Job(
            out,
            1,
            out / ".staging",
            file,
            plan.recipe.source[file.source],
            plan.recipe.policy_for(file.source),
            plan.recipe.output,
            plan.fingerprints[file.source],
            plan.pins[file.source],
        )
        for file in plan.files
    ]
    LocalPipelineExecutor([CurateStep(jobs)], tasks=2, logging_dir=str(tmp_path / "logs")).run()
    root = publish_version(out, 1, None, [file.task for file in plan.files], _run_description(plan))
    assert root == run(recipe, tmp_path / "ours").corpus.root


def test_the_wrapper_takes_a_filter_made_in_code(tmp_path):
    recorded = Recorded(LambdaFilter(lambda document: len(document.text) > 3))
    seen = []
    recorded.recorder = lambda stage, documents, decisions: seen.extend(
        (stage, document.id, str(decision.reason)) for document, decision in zip(documents, decisions, strict=True)
    )
    kept = list(recorded.run([Document("long enough", "a"), Document("no", "b")]))
    assert [document.id for document in kept] == ["a"]
    assert seen == [("filter:LambdaFilter", "a", "passed"), ("filter:LambdaFilter", "b", "filtered")]
