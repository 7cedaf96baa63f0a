"""What a run says at its end: the funnel by stage, the cost, and where to look next."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from manifests.corpus import Corpus
from manifests.printable import printable
from manifests.schema import Stage

if TYPE_CHECKING:
    from pipeline.retract import Retraction


@dataclass
class StageTotals:
    """One stage over all tasks: rows by what happened to them."""

    rows: int = 0
    altered: int = 0
    excluded: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def left(self) -> int:
        """Rows that go on."""
        return self.rows - sum(self.excluded.values())


def funnel(corpus: Corpus) -> dict[str, StageTotals]:
    """Totals by stage over all tasks, in the order of the pass (a source may skip stages)."""
    stages: dict[str, StageTotals] = defaultdict(StageTotals)
    for task in corpus.tasks:
        for count in task["counts"]:
            totals = stages[count["stage"]]
            totals.rows += count["rows"]
            if count["action"] == "exclude":
                totals.excluded[count["reason"]] += count["rows"]
            elif count["action"] == "alter":
                totals.altered += count["rows"]
    order = list(Stage)
    return dict(sorted(stages.items(), key=lambda item: (order.index(Stage(item[0].partition(":")[0])), item[0])))


def read_costs(corpus: Path) -> dict[str, Any]:
    """CPU seconds as the last runs noted them under `logs/`; empty when they are gone."""
    try:
        return json.loads((corpus / "logs" / "costs.json").read_bytes())
    except (OSError, ValueError):
        return {}


def print_summary(console: Console, corpus: Corpus) -> None:
    """The table per stage, one line of speed, one of the law, and the three paths."""
    costs = read_costs(corpus.path)
    megabytes = costs.get("text_bytes", 0) / 1e6
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    timed = megabytes >= 5  # below, the loading of models is most of what a stage costs
    table.add_column("stage")
    for heading in ("in", "excluded", "altered", "kept", *(["CPU ms/MB"] if timed else [])):
        table.add_column(heading, justify="right")
    table.add_column("excluded by reason")
    for stage, totals in funnel(corpus).items():
        seconds = costs.get("read" if stage == "intake" else "stages", 0.0)
        seconds = seconds.get(stage, 0.0) if isinstance(seconds, dict) else seconds
        excluded = sum(totals.excluded.values())
        reasons = sorted(totals.excluded.items(), key=lambda item: (-item[1], item[0]))
        table.add_row(
            stage,
            f"{totals.rows:,}",
            f"{excluded:,}" if excluded else "·",
            f"{totals.altered:,}" if totals.altered else "·",
            f"{totals.left:,}",
            *([f"{1000 * seconds / megabytes:.1f}"] if timed else []),
            Text(", ".join(f"{reason} {rows:,}" for reason, rows in reasons), style="dim"),
        )
    console.print(table)
    for source, skipped in _skipped(corpus).items():
        console.print(Text(f"{source} skips {', '.join(skipped)}", style="dim"))
    if said := _cascade(corpus, costs.get("parts", {})):
        console.print(Text(said, style="dim"))
    totals = corpus.run["totals"]
    console.print(
        f"\n[bold]{totals['rows']:,}[/] rows in = [bold]{totals['kept']:,}[/] kept + "
        f"[bold]{totals['excluded']:,}[/] excluded"
        + ("" if totals["rows"] == totals["kept"] + totals["excluded"] else "  [red]does not add up[/]")
    )
    if costs.get("total"):
        console.print(
            f"{costs['documents'] / costs['total']:,.0f} documents/s and {megabytes / costs['total']:.2f} MB/s "
            f"of CPU time ({costs['total']:.1f} CPU-s in tasks, start-up apart, for {megabytes:.1f} MB of text)"
        )
    console.print(f"Merkle root {corpus.root}")
    for failed, error in corpus.run.get("failed", {}).items():
        console.print(Text.assemble(("left out", "red"), f" {failed}: {error}"), soft_wrap=True)


def _cascade(corpus: Corpus, parts: dict[str, float]) -> str:
    """What a cascade's band cost and saved, in words; nothing without one."""
    cleared = rows = 0
    for task in corpus.tasks:
        for count in task["counts"]:
            if count["stage"] == "toxicity":
                rows += count["rows"]
                cleared += count["rows"] if count["reason"] == "cleared" else 0
    if not cleared:
        return ""
    said = f"toxicity: the small model cleared {cleared:,} of {rows:,} documents, {rows - cleared:,} met the encoder"
    if not {"toxicity/cheap", "toxicity/encoder"} <= set(parts) or rows == cleared:
        return said
    cheap, encoder = parts["toxicity/cheap"], parts["toxicity/encoder"]
    saved = encoder / (rows - cleared) * cleared - cheap
    return f"{said}; {cheap:,.1f} and {encoder:,.1f} CPU-s, about {saved:,.1f} saved"


HOSTS_SHOWN = 20
"""Hosts that a retraction names, those with most documents first; the rest is added up."""


def print_retraction(console: Console, found: Retraction, dry_run: bool) -> None:
    """Hosts, documents and bytes withdrawn, for which agents; what came back; the new version."""
    from pipeline.retract import authority

    if found.documents:
        hosts = found.hosts()
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        table.add_column("host")
        for heading in ("documents", "bytes of text"):
            table.add_column(heading, justify="right")
        for rhost, documents, text_bytes in hosts[:HOSTS_SHOWN]:
            table.add_row(Text(printable(authority(rhost))), f"{documents:,}", f"{text_bytes:,}")
        rest = hosts[HOSTS_SHOWN:]
        if rest:
            documents, text_bytes = sum(row[1] for row in rest), sum(row[2] for row in rest)
            table.add_row(f"{len(rest):,} more", f"{documents:,}", f"{text_bytes:,}")
        table.add_row(
            f"{len(hosts):,} host{'s' if len(hosts) > 1 else ''}",
            f"{found.documents:,}",
            f"{found.text_bytes:,}",
            style="bold",
        )
        console.print(table)
        agents = sorted(found.agents.items(), key=lambda item: (-item[1], item[0]))
        if agents:
            console.print(
                Text("Barred for: " + ", ".join(f"{agent} {number:,}" for agent, number in agents)), soft_wrap=True
            )
        console.print(f"{found.rewritten:,} shards {'would be' if dry_run else 'were'} written again without them.")
    else:
        console.print("Nothing to retract: no published document is barred by this evidence.")
    if len(found.returned):
        hosts_back = set(found.returned.column("rhost").to_pylist())
        console.print(
            f"{len(found.returned):,} excluded documents of {len(hosts_back):,} hosts are allowed again. Their text "
            "was not kept, so they stay out; the next `fairtrove curate` with this evidence restores them"
            + (" (listed in returned.parquet)." if found.published else "."),
            soft_wrap=True,
        )
    if dry_run:
        console.print("A dry run: nothing was written.")
    elif found.published:
        console.print(
            f"Version {found.corpus.version} is published, Merkle root {found.corpus.root}.\n"
            "Curate with this evidence from now on: an older snapshot, or a recipe without the takedown list, would "
            "bring the documents back.",
            soft_wrap=True,
        )
    else:
        console.print(f"Version {found.corpus.version} already rests on this evidence.")


def _skipped(corpus: Corpus) -> dict[str, list[str]]:
    """Per source the stages of the corpus that its policy does not run."""
    stages = {task["source"]: task["stages"] for task in corpus.tasks}
    every = list(funnel(corpus))
    return {
        source: [stage for stage in every if stage not in ran]
        for source, ran in stages.items()
        if set(every) - set(ran)
    }


def print_paths(console: Console, corpus: Corpus) -> None:
    """Where to look next."""
    console.print("\nLook next:")
    for what, path in (
        ("shards", corpus.path / "shards"),
        ("manifests", corpus.manifest),
        ("report", corpus.path / "report" / "index.html"),
    ):
        console.print(f"  {what:10}{shown(path)}", soft_wrap=True, highlight=False)


def shown(path: Path) -> str:
    """A path as the user would type it: relative when it lies below the current folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
