"""The audit: can this corpus be believed from its manifest alone? Named checks, each failing with file, row or key.

What is checked, in this order, each from the files upward and not from what a summary claims:

1. every digest from `run.json` down to task records, tables and shards, no file that nobody vouches for
   (`check_files`), and the figures of the run against its tasks;
2. conservation: rows in = kept + excluded, per file, task and run, and as multiset hashes, which find the lost, doubled
   or swapped document that equal counts hide; the Merkle roots, recomputed from the rows (`check_accounts`);
3. the texts: each kept row's digest is that of the published text it points to (`check_texts`);
4. the SQL in `queries/NN_*.sql`, each row of an answer a violation: an auditor runs the same files by hand
   (`check_queries`);
5. documents drawn at random, decided again: consent by another evaluator of robots.txt, everything by the filters
   (`check_samples`; the caller brings both, this package knows no filter).

Somebody who owns the whole folder can make every digest fit again. Then the logic of 2 to 5 must catch it, or the
root has changed: give the root that you were told before as `expected_root`. A copy of the manifests without the
folder `shards` is audited too, and what needs texts is said to be skipped. A version made by a retraction is held
against its parent, as long as that is there: each tombstone, and that nothing left without one.

Measured: the development corpus (22,020 documents) with its texts and every check but the last takes 1.5 CPU seconds,
with 15,000 documents decided again 14; for manifests of millions see `audit` in `tests/bench/LOG.md`. Memory is that of
a part of one task's tables and of duckdb's buffers (1 GB).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from manifests.check_accounts import check_accounts, check_totals
from manifests.check_files import check_published, check_records, check_shards, check_strays, check_tables, has_shards
from manifests.check_queries import QUERIES, check_queries, parameters
from manifests.check_samples import Recheck, Rescan, Verdict, check_consent, check_filters
from manifests.check_texts import ALL_TEXTS_UP_TO, check_texts
from manifests.corpus import Corpus
from manifests.notes import NAMED_PER_CHECK, Check, Notes
from manifests.printable import printable

__all__ = [
    "NAMED_PER_CHECK",
    "QUERIES",
    "AuditResult",
    "Check",
    "Recheck",
    "Rescan",
    "Verdict",
    "audit",
    "parameters",
    "printable",
    "render",
    "to_json",
]


@dataclass(frozen=True, slots=True)
class AuditResult:
    """All checks of one version of a corpus."""

    corpus: str
    version: int
    root: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """True when every check passed; a skipped one found nothing, and `checks` says which were."""
        return all(check.passed for check in self.checks)


def audit(
    corpus: Corpus,
    row_groups: int = 200,
    recheck: Recheck | None = None,
    expected_root: str | None = None,
    rescan: Rescan | None = None,
    documents: int = 15_000,
    seed: str | None = None,
) -> AuditResult:
    """Check a corpus against its manifest; reads, never writes, and never raises for what is wrong with the corpus.

    Args:
        row_groups: of text re-read when the corpus is large (`check_texts.ALL_TEXTS_UP_TO`); 0 means all.
        recheck: a second evaluator of consent decisions.
        expected_root: the Merkle root as published elsewhere (a card, a release, a receipt), hexadecimal.
        rescan: runs the filters again.
        documents: how many are drawn for `recheck` (of the excluded and of the kept each) and for `rescan`.
        seed: what the draws depend on; by default the root, so that they are the same for everybody.
    """
    notes = Notes()
    root = str(corpus.run["roots"]["corpus"])
    seed = root if seed is None else seed
    if expected_root is not None:
        with notes.check("expected root", f"the root is {expected_root[:16]}…, as expected"):
            if root.lower() != expected_root.strip().lower():
                notes.add(f"run.json: the root is {root}, expected was {expected_root}: another corpus")
    present = True
    with notes.check("task records"):
        present = has_shards(corpus)
    records = check_records(corpus, notes)
    tasks = check_tables(corpus, records, notes)
    if present:
        check_shards(corpus, notes)
    else:
        notes.skip("shards", "not examined: the shards are not in this copy")
    check_strays(corpus, notes)
    check_totals(corpus, records, notes)
    check_accounts(corpus, tasks, notes)
    check_texts(corpus, tasks, row_groups, seed, present, ALL_TEXTS_UP_TO, notes)
    check_queries(corpus, tasks, QUERIES, notes)
    if recheck is not None:
        check_consent(corpus, tasks, recheck, documents, seed, present, notes)
    if rescan is not None and present:
        check_filters(corpus, tasks, rescan, documents, seed, notes)
    elif rescan is not None:
        notes.skip("re-scanned", "not examined: the shards are not in this copy")
    check_published(corpus, notes)
    return AuditResult(str(corpus.path), corpus.version, root, notes.checks())


def render(result: AuditResult) -> Table:
    """The result as a table for the terminal."""
    verdict = "passed" if result.passed else "FAILED"
    skipped = sum(check.skipped for check in result.checks)
    verdict += f", {skipped} of {len(result.checks)} checks skipped" if skipped else ""
    table = Table(title=f"Audit of version {result.version}, root {result.root[:16]}…: {verdict}", title_justify="left")
    table.add_column("check", no_wrap=True)
    table.add_column("")
    table.add_column("examined, or what is wrong", overflow="fold")
    for check in result.checks:
        mark = Text("ok", style="green") if check.passed else Text("FAIL", style="bold red")
        mark = Text("skip", style="yellow") if check.skipped else mark
        table.add_row(Text(check.name), mark, Text(printable(check.detail)))
    return table


def to_json(result: AuditResult) -> dict[str, Any]:
    """The result as a value that `json.dumps` takes, with every violation that was named."""
    return {
        "corpus": result.corpus,
        "version": result.version,
        "root": result.root,
        "passed": result.passed,
        "checks": [
            {
                "name": check.name,
                "passed": check.passed,
                "skipped": check.skipped,
                "detail": check.detail,
                "found": check.found,
                "violations": list(check.violations),
            }
            for check in result.checks
        ],
    }
