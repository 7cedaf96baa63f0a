"""The whole pass against the published pipeline: CPU seconds per MB of text, in one run, interleaved.

    python -m tests.bench.bench_pass [--input DIR --snapshot FILE --limit-files N --rounds N]

Programs take turns (peer, ours, peer, ours), each in its own process, and only their ratio is a result: the same
program costs up to half as many CPU seconds again when the machine is busy, but then so does the other one. What counts
is user plus system time of the process and all its descendants as the kernel reports it when they end, imports, model
loading and bookkeeping included; MB are 10^6 bytes of UTF-8 text in the input files, counted once, before any program.

The bars, checked at the end, exit status 1 if one is missed:
- pass: MB per CPU second of `fairtrove curate` with all five stages and the ledger on, over the peer's: at least 8.
- speed: the same figure by itself, at least 14: 1,200 core-hours for 15T tokens. It moves with the machine's load.
- io: CPU time of our reading and writing, keys, hosts and ledger entries included, over pyarrow's for the same rows and
  the same encoding: at most 1.5.
- rows: every row of the input files accounted for, by ours; otherwise doing nothing would be fastest.

Below the tables stands what the engine alone costs, as stock datatrove does the nearest that it can (URL, language,
PII; left out without the `bench` extra), and what is left to gain: reading and writing by pyarrow alone. A corpus of
15T tokens is 60 TB of text: what it would take is printed for each program.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from tests.bench.inputs import REPOSITORY, Inputs, inputs, language_model
from tests.bench.resources import usage

BAR = 8.0  # times the baseline's MB per CPU second
SPEED_BAR = 14.0  # MB per CPU second
IO_BAR = 1.5  # times pyarrow alone
CORPUS_MB = 60e6  # 15T tokens at 4 bytes of text each
STAGES = ("start", "read", "intake", "robots", "license", "language", "toxicity", "pii", "ledger", "write", "rest")


@dataclass(frozen=True)
class Measure:
    """What one run of one program took, and the costs it reports about itself."""

    cpu_seconds: float
    peak_rss_mb: float
    costs: Mapping[str, Any]

    def stage_seconds(self) -> dict[str, float]:
        """CPU seconds by row of the table; `rest` is what the kernel counted and the program did not name."""
        seconds = {name: float(self.costs[name]) for name in ("start", "read", "ledger", "write") if name in self.costs}
        seconds |= {name: float(value) for name, value in self.costs["stages"].items()}
        return seconds | {"rest": self.cpu_seconds - sum(seconds.values())}


class ProgramError(Exception):
    """A program of the bench ended with an error; the message holds its last lines."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0 if every bar is met, 1 if one is missed, 2 if a program did not run."""
    parser = argparse.ArgumentParser(description="Compare the whole pass with the published pipeline.")
    parser.add_argument("--input", type=Path, help="folder of Parquet files, or one with pages/ and robots.parquet")
    parser.add_argument("--snapshot", type=Path, help="robots.txt snapshot (default: robots.parquet beside the pages)")
    parser.add_argument("--limit-files", type=int, help="only the first N files")
    parser.add_argument("--rounds", type=int, default=2, help="how often each program runs (default 2)")
    parser.add_argument("--recipe", default="corpus.toml", help="recipe of ours (default corpus.toml)")
    chosen = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 120)
    with tempfile.TemporaryDirectory(prefix="fairtrove-bench-") as scratch:
        try:
            corpus = inputs(chosen.input, chosen.snapshot, chosen.limit_files, Path(scratch))
            return _compare(corpus, chosen.recipe, chosen.rounds, Path(scratch), console)
        except (ProgramError, FileNotFoundError) as error:
            console.print(str(error), style="red", markup=False, highlight=False)
            return 2


def _compare(corpus: Inputs, recipe: str, rounds: int, scratch: Path, console: Console) -> int:
    limit = json.loads(_output("tests.bench.arrow_limit", str(corpus.pages), str(scratch / "limit.parquet")))
    toxicity = _output("tests.bench.toxicity_standin").strip()
    text_mb, rows = limit["text_bytes"] / 1e6, limit["documents"]
    console.print(f"{corpus.name}: {rows:,} documents, {text_mb:,.1f} MB of text · {_machine()}", highlight=False)

    measures: dict[str, list[Measure]] = {"baseline": [], "fairtrove": []}
    for turn in range(rounds):
        out = scratch / f"turn{turn}"
        costs = scratch / f"baseline{turn}.json"
        peer = ["tests.bench.apertus_baseline", "--input", corpus.pages, "--snapshot", corpus.snapshot]
        peer += ["--out", out / "baseline", "--lid", language_model(), "--toxicity", toxicity, "--costs", costs]
        ours = ["pipeline.cli", "curate", recipe, "--out", out / "fairtrove", "--workers", "1"]
        ours += ["--set", f"source.web.path={corpus.pages}/*.parquet"]
        ours += ["--set", f"policy.web.robots.snapshot={corpus.snapshot}"]
        for name, command, report in (
            ("baseline", peer, costs),
            ("fairtrove", ours, out / "fairtrove" / "logs" / "costs.json"),
        ):
            measure = run_program([str(word) for word in command], report)
            measures[name].append(measure)
            console.print(f"  round {turn + 1}: {name} {measure.cpu_seconds:.1f} CPU s", highlight=False)

    console.print(_totals_table(measures, rows, text_mb))
    console.print(_stages_table(measures, text_mb))
    _print_stock(corpus, text_mb, rows, scratch, console)
    alone = limit["read_seconds"] + limit["write_seconds"]
    console.print(
        f"limit: pyarrow alone reads and writes these rows at {text_mb / alone:,.0f} MB/s "
        f"(read {limit['read_seconds'] / text_mb * 1e3:.1f}, write {limit['write_seconds'] / text_mb * 1e3:.1f} ms/MB)",
        highlight=False,
    )
    _print_excluded("baseline", measures["baseline"][-1].costs["excluded"], rows, console)
    counts = scratch / f"turn{rounds - 1}" / "fairtrove" / "manifests" / "v0001" / "counts.parquet"
    if counts.exists():
        _print_excluded("fairtrove", excluded_by_stage(counts), rows, console)
    checked = bars(measures, rows, text_mb, alone)
    for line, met in checked:
        print(f"{line} {'PASS' if met else 'FAIL'}")
    return 0 if all(met for _, met in checked) else 1


def run_program(command: Sequence[str], report: Path) -> Measure:
    """Run `python -m command` to its end and measure it.

    Args:
        command: module and arguments.
        report: JSON file that the program leaves: `stages`, `read`, `write` and more in CPU seconds, `documents`, and
            `clock` for what measuring took, which is not counted.

    Raises:
        ProgramError: it failed, or left no report.
    """
    taken = usage([sys.executable, "-m", *command], REPOSITORY)
    if taken.status:
        tail = "\n".join(taken.output.splitlines()[-15:])
        raise ProgramError(f"{command[0]} ended with status {taken.status}:\n{tail}")
    if not report.exists():
        raise ProgramError(f"{command[0]} left no {report.name}: it must report its costs per stage there")
    costs = json.loads(report.read_text())
    return Measure(taken.cpu_seconds - costs.get("clock", 0.0), taken.peak_rss_mb, costs)


def bars(measures: Mapping[str, Sequence[Measure]], rows: int, text_mb: float, alone: float) -> list[tuple[str, bool]]:
    """One line per bar, and whether it is met. `alone`: CPU seconds of pyarrow for reading and writing the rows."""
    ours = measures["fairtrove"]
    speed = text_mb / _cpu(ours)
    io = sum(measure.costs["read"] + measure.costs["write"] for measure in ours) / len(ours) / alone
    ratio = _cpu(measures["baseline"]) / _cpu(measures["fairtrove"])
    shown = math.floor(ratio * 10) / 10  # rounded down, so that a miss by little does not read like the bar itself
    accounted = min(int(measure.costs["documents"]) for measure in measures["fairtrove"])
    return [
        (f"bar pass: {shown:.1f}x the baseline (bar {BAR:.1f}x)", ratio >= BAR),
        (f"bar speed: {math.floor(speed * 10) / 10:.1f} MB per CPU second (bar {SPEED_BAR:.0f})", speed >= SPEED_BAR),
        (f"bar io: {math.ceil(io * 100) / 100:.2f}x pyarrow alone (bar {IO_BAR:.1f}x)", io <= IO_BAR),
        (f"bar rows: {accounted:,} of {rows:,} accounted for", accounted == rows),
    ]


def excluded_by_stage(counts: Path) -> dict[str, int]:
    """Documents that each stage excluded, out of a corpus's `counts` table."""
    excluded: Counter[str] = Counter()
    for count in pq.read_table(counts, columns=["position", "stage", "action", "rows"]).sort_by("position").to_pylist():
        if count["action"] == "exclude":
            excluded[count["stage"]] += count["rows"]
    return dict(excluded)


def _print_stock(corpus: Inputs, text_mb: float, rows: int, scratch: Path, console: Console) -> None:
    if not all(importlib.util.find_spec(name) for name in ("ahocorasick", "fasteners")):
        console.print("stock datatrove: left out; pip install 'fairtrove[bench]'", markup=False, highlight=False)
        return
    costs = scratch / "stock.json"
    words = ["tests.bench.stock_datatrove", "--input", corpus.pages, "--out", scratch / "stock", "--costs", costs]
    measure = run_program([str(word) for word in words], costs)
    speed = text_mb / measure.cpu_seconds
    stages = ", ".join(f"{name} {value / text_mb * 1e3:.1f}" for name, value in measure.stage_seconds().items())
    console.print(
        f"stock datatrove, one run: {speed:.2f} MB/s, {rows / measure.cpu_seconds:,.0f} documents/s, "
        f"{CORPUS_MB / speed / 3600:,.0f} core-hours for 15T tokens; ms/MB: {stages}",
        highlight=False,
    )


def _print_excluded(name: str, excluded: Mapping[str, int], rows: int, console: Console) -> None:
    # two programs do equal work only as far as these lines are alike
    stages = ", ".join(f"{count:,} by {stage}" for stage, count in excluded.items())
    kept = rows - sum(excluded.values())
    console.print(f"{name} excluded {stages or 'nothing'}; {kept:,} stay", highlight=False)


def _output(*command: str) -> str:
    """Standard output of `python -m command`."""
    process = subprocess.run([sys.executable, "-m", *command], cwd=REPOSITORY, capture_output=True, text=True)
    if process.returncode:
        raise ProgramError(f"{command[0]} ended with status {process.returncode}:\n{process.stderr[-2000:]}")
    return process.stdout


def _cpu(measures: Sequence[Measure]) -> float:
    return sum(measure.cpu_seconds for measure in measures) / len(measures)


def _totals_table(measures: Mapping[str, Sequence[Measure]], rows: int, text_mb: float) -> Table:
    table = Table(title="One process, mean of the rounds", title_justify="left")
    table.add_column("program")
    headings = ("CPU s", "each round", "MB / CPU s", "documents / CPU s", "peak RSS MB", "core-hours, 15T tokens")
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, runs in measures.items():
        seconds = _cpu(runs)
        table.add_row(
            name,
            f"{seconds:.1f}",
            " ".join(f"{run.cpu_seconds:.1f}" for run in runs),
            f"{text_mb / seconds:.2f}",
            f"{rows / seconds:,.0f}",
            f"{max(run.peak_rss_mb for run in runs):,.0f}",
            f"{CORPUS_MB / (text_mb / seconds) / 3600:,.0f}",
        )
    ratios = [peer.cpu_seconds / ours.cpu_seconds for peer, ours in zip(*measures.values(), strict=True)]
    table.add_row("ratio", "", " ".join(f"{ratio:.2f}x" for ratio in ratios))
    return table


def _stages_table(measures: Mapping[str, Sequence[Measure]], text_mb: float) -> Table:
    table = Table(title="CPU ms per MB of text, and share of the program", title_justify="left")
    table.add_column("stage")
    columns = {}
    for name, runs in measures.items():
        table.add_column(name, justify="right")
        table.add_column("share", justify="right")
        seconds = [run.stage_seconds() for run in runs]
        columns[name] = {stage: sum(run.get(stage, 0.0) for run in seconds) / len(runs) for stage in seconds[0]}
    named = {stage for column in columns.values() for stage in column}
    for stage in [*(stage for stage in STAGES if stage in named), *sorted(named - set(STAGES))]:
        cells = [stage]
        for name, column in columns.items():
            share = column.get(stage, 0.0) / _cpu(measures[name])
            cells += [f"{column[stage] / text_mb * 1e3:.1f}", f"{share:.1%}"] if stage in column else ["-", "-"]
        table.add_row(*cells)
    table.add_section()
    table.add_row("sum", *(cell for runs in measures.values() for cell in (f"{_cpu(runs) / text_mb * 1e3:.1f}", "")))
    return table


def _machine() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
