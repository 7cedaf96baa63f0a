"""The plan: what a recipe would do and cost, without doing it.

Checks what can be reached and lists the work per source. The estimate runs the source's own stages on the first
documents of its smallest local file, in a temporary folder, and extrapolates CPU seconds per MB of text: the number
that decides whether a lab can pay for a rebuild, before it pays. One core-hour is 3,600 CPU seconds on this machine.
Documents of local Parquet files are not extrapolated but read off their footers: 1,000 take a tenth of a CPU second.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from manifests.schema import FairtroveError
from pipeline.inputs import InputFile, SourceError, list_files
from pipeline.readers import count_rows, reader_of
from pipeline.recipe import Policy, Recipe, RecipeError, Source
from pipeline.stages import build_stages, pins
from pipeline.task import Job, TaskReport, run_task

_MOST_FOOTERS = 1000


@dataclass
class SourcePlan:
    """One source's work.

    Attributes:
        files: None when the place cannot be reached from here.
        problem: an error of the recipe, in one line; a run would stop at it.
        note: why there is no estimate, or what could not be checked.
        documents: as the footers of the files say, else extrapolated.
        text_bytes: extrapolated.
        cpu: extrapolated CPU seconds by stage, with `read`, `write` and `ledger`.
    """

    name: str
    source: Source
    stages: list[str]
    files: list[InputFile] | None = None
    problem: str | None = None
    note: str | None = None
    documents: float = 0.0
    text_bytes: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Size of the input files."""
        return sum(file.bytes for file in self.files or [])


def plan_sources(recipe: Recipe, sample: int) -> list[SourcePlan]:
    """Check and list every source; measure the ones that are local. Never raises for what the recipe got wrong."""
    plans = []
    for name, source in recipe.source.items():
        policy = recipe.policy_for(name)
        plan = SourcePlan(name, source, policy.stages)
        plans.append(plan)
        try:
            build_stages(source, policy)
        except RecipeError as error:
            plan.problem = str(error)
        try:
            plan.files = list_files(name, source)
            for file in plan.files:
                reader_of(file, source)
        except SourceError as error:
            plan.note = f"not reachable from here ({error})"
            continue
        except RecipeError as error:
            plan.problem = plan.problem or str(error)
            continue
        if sample and not plan.problem:
            _estimate(plan, recipe, policy, sample)
    return plans


def _estimate(plan: SourcePlan, recipe: Recipe, policy: Policy, sample: int) -> None:
    local = [file for file in plan.files or [] if "://" not in file.location and file.bytes]
    if not local:
        plan.note = "no local file to measure"
        return
    file = min(local, key=lambda file: (file.bytes, file.name))
    try:
        report, rows = _measure(file, plan, recipe, policy, sample)
    except Exception as error:  # a plan says what it could not do, whatever stopped the sample
        plan.note = f"not measured: {_in_one_line(error)}"
        return
    if not report.rows:
        plan.note = "not measured: the smallest file is empty"
        return
    scale = rows / report.rows * plan.bytes / file.bytes
    plan.text_bytes = report.text_bytes * scale
    plan.cpu = {stage: seconds * scale for stage, seconds in report.cpu.items()}
    try:
        counted = _documents(plan)
    except SourceError as error:
        plan.note = str(error)
        counted = None
    plan.documents = report.rows * scale if counted is None else counted


def _in_one_line(error: Exception) -> str:
    said = str(error).strip().split("\n")[0]
    return said if isinstance(error, FairtroveError) else f"{type(error).__name__}: {said}".removesuffix(": ")


def _documents(plan: SourcePlan) -> int | None:
    """Rows that the footers of all files say; None where files have none, lie elsewhere or are too many."""
    files = plan.files or []
    if len(files) > _MOST_FOOTERS or any(
        "://" in file.location or reader_of(file, plan.source) != "parquet" for file in files
    ):
        return None
    return sum(count_rows(file, plan.source) for file in files)


def _measure(file: InputFile, plan: SourcePlan, recipe: Recipe, policy: Policy, sample: int) -> tuple[TaskReport, int]:
    """Run the first documents twice, the second time warm (models loaded), and count the file's rows."""
    with tempfile.TemporaryDirectory(prefix="fairtrove-plan-") as folder:
        out = Path(folder)
        pinned = pins(build_stages(plan.source, policy))
        job = Job(out, 1, out / ".staging", file, plan.source, policy, recipe.output, "plan", pinned, sample)
        run_task(job)
        return run_task(job), count_rows(file, plan.source)


def print_plan(console: Console, recipe: Recipe, sample: int) -> bool:
    """Print the work list and the estimate; False if a run would stop at an error of the recipe."""
    with console.status("checking and measuring"):
        plans = plan_sources(recipe, sample)
    console.print(f"[bold]{escape(recipe.name)}[/]  {escape(recipe.description)}\n")
    console.print(_work_table(plans))
    measured = [plan for plan in plans if plan.cpu]
    if measured:
        console.print()
        console.print(_cost_table(measured))
        console.print(f"extrapolated from the first {sample:,} documents of each source's smallest local file")
    for problem in dict.fromkeys(plan.problem for plan in plans if plan.problem):
        console.print(f"[bold red]error:[/] {escape(problem)}", soft_wrap=True, highlight=False)
    for plan in plans:
        if plan.note and not plan.problem:
            console.print(f"[yellow]source.{plan.name}:[/] {escape(plan.note)}", soft_wrap=True, highlight=False)
    return not any(plan.problem for plan in plans)


def _work_table(plans: Sequence[SourcePlan]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("source")
    table.add_column("kind")
    for heading in ("files", "GB", "documents", "GB text", "core-hours"):
        table.add_column(heading, justify="right")
    table.add_column("stages")
    for plan in plans:
        known = plan.files is not None
        table.add_row(
            plan.name,
            plan.source.kind,
            f"{len(plan.files or []):,}" if known else "?",
            f"{plan.bytes / 1e9:,.3f}" if known else "?",
            f"{plan.documents:,.0f}" if plan.cpu else "?",
            f"{plan.text_bytes / 1e9:,.3f}" if plan.cpu else "?",
            _core_time(plan.cpu["total"]) if plan.cpu else "?",
            " → ".join(plan.stages) or "none",
        )
    return table


def _cost_table(plans: Sequence[SourcePlan]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("stage")
    table.add_column("core-hours", justify="right")
    table.add_column("CPU ms/MB", justify="right")
    stages = list(dict.fromkeys(stage for plan in plans for stage in plan.cpu))
    for stage in stages:
        seconds = sum(plan.cpu.get(stage, 0.0) for plan in plans)
        megabytes = sum(plan.text_bytes for plan in plans if stage in plan.cpu) / 1e6
        table.add_row(stage, _core_time(seconds), f"{1000 * seconds / megabytes:,.1f}" if megabytes else "?")
    return table


def _core_time(seconds: float) -> str:
    """Core-hours; CPU seconds where those would round to nothing."""
    return f"{seconds / 3600:,.3f}" if seconds >= 3.6 else f"{seconds:.2g} CPU s"
