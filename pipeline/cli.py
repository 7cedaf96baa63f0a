"""The `fairtrove` command."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from pipeline.cli_ask import app as ask_app
from pipeline.cli_ask import key_app
from pipeline.cli_audit import app as audit_app
from pipeline.cli_language import app as language_app
from pipeline.cli_pii import app as pii_app
from pipeline.cli_robots import app as robots_app
from pipeline.cli_toxicity import CALIBRATE_EXAMPLE, calibrate
from pipeline.cli_toxicity import app as toxicity_app
from pipeline.cli_train import app as train_app
from pipeline.terminal import UsageError, console, escaped, exits, fail, stderr

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from pipeline.clusters import Engine
    from pipeline.curate import Plan

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Curate web-scale text for language-model pretraining and account for every document.",
)

app.add_typer(robots_app, name="robots")
app.add_typer(language_app, name="language")
app.add_typer(pii_app, name="pii")
app.add_typer(toxicity_app, name="toxicity")
app.add_typer(key_app, name="key")
app.registered_commands += audit_app.registered_commands + ask_app.registered_commands + train_app.registered_commands
app.command(epilog=CALIBRATE_EXAMPLE)(calibrate)

RecipeArgument = Annotated[
    str, typer.Argument(help="A TOML file, or a recipe that ships: sample, corpus, apertus.", show_default=False)
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one key of the recipe; may be repeated."),
]
CorpusArgument = Annotated[Path, typer.Argument(help="Folder of a corpus.", show_default=False)]


@app.command(
    epilog="Example: [bold]fairtrove curate corpus --out out/mine --set source.web.path='pages/*.parquet' "
    "--set policy.web.robots.snapshot=robots.parquet[/]"
)
@exits
def curate(
    recipe: RecipeArgument,
    out: Annotated[str, typer.Option("--out", help="Folder of the corpus; made if missing, resumed if not.")],
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; all cores by default.", show_default=False)
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", help="Where they run: local, ray or slurm; --out is on a disk that all see.")
    ] = "local",
    cluster: Annotated[
        list[str] | None,
        typer.Option(
            "--cluster", metavar="KEY=VALUE", help="Setting of the engine, as partition=long; may be repeated."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N rows of each input file.")] = None,
    set_: SetOption = None,
    batch_timeout: Annotated[
        float,
        typer.Option("--batch-timeout", min=0, metavar="SECONDS", help="Longest that a stage may take for one batch."),
    ] = 3600,
    keep_old: Annotated[bool, typer.Option("--keep-old", help="Keep the shards of the version replaced.")] = False,
    skip_failed: Annotated[
        bool, typer.Option("--skip-failed", help="Publish without input files that fail, and list them.")
    ] = False,
) -> None:
    """Curate a recipe's sources into a corpus: shards, and a record of every decision.

    An interrupted run is resumed by the same command; a finished one does nothing; a changed recipe re-runs what the
    change affects and publishes the next version. On Slurm: --engine slurm --workers 200 --cluster partition=long
    --cluster time=12:00:00; what the cluster cancels or loses is run again by the same command.
    """
    from manifests.report import write_report
    from pipeline.clusters import check_settings
    from pipeline.curate import curate as run
    from pipeline.table import print_paths, print_summary

    chosen, settings = _engine(engine, cluster or [])
    check_settings(chosen, settings)
    if "://" in out:
        raise UsageError(f"--out {out}: a corpus is made in a local or mounted folder; then `fairtrove push` copies it")
    plan = _planned(recipe, set_ or [], limit)
    for source in plan.unguarded:
        kind = plan.recipe.source[source].kind
        stderr.print(
            f"[yellow]warning:[/] source.{source}: no stage will run on it, for there is no policy.{kind}",
            soft_wrap=True,
        )
    with _progress() as progress:
        result = run(
            plan,
            Path(out),
            workers or os.cpu_count() or 1,
            progress.start,
            progress.step,
            progress.end,
            keep_old=keep_old,
            skip_failed=skip_failed,
            engine=chosen,
            cluster=settings,
            batch_timeout=batch_timeout,
        )
    for outcome in result.failed:
        stderr.print(Text.assemble(("failed:", "bold red"), f" {outcome.error}"), soft_wrap=True, highlight=False)
    if result.corpus is None:
        done = len(result.ran) + len(result.resumed) + len(result.adopted)
        fail(
            f"{len(result.failed)} of {len(plan.files)} input files failed ({out}/logs/failures has the details); the "
            f"other {done} are finished and kept. Mend them and run again, or publish without them: --skip-failed",
            1,
        )
    corpus = result.corpus
    if result.unchanged:
        console.print(
            f"Nothing to do: version {corpus.version} already is what this recipe makes of these inputs "
            f"({len(result.adopted)} files, {corpus.run['totals']['rows']:,} rows)."
        )
    else:
        carried = len(result.adopted) + len(result.resumed)
        console.print(
            f"Version {corpus.version} of [bold]{escaped(corpus.run['recipe']['name'])}[/] is published: "
            f"{len(result.ran)} files curated" + (f", {carried} unchanged" if carried else "") + ".\n"
        )
        print_summary(console, corpus)
    if not (result.unchanged and (corpus.path / "report" / "index.html").is_file()):
        write_report(corpus)
    print_paths(console, corpus)
    if result.failed:
        raise typer.Exit(1)


def _engine(name: str, settings: list[str]) -> tuple[Engine, dict[str, str]]:
    from pipeline.clusters import Engine

    if name not in list(Engine):
        raise UsageError(f"--engine {name}: there is local, ray and slurm")
    pairs = [setting.partition("=") for setting in settings]
    for key, equals, _ in pairs:
        if not (key and equals):
            raise UsageError(f"--cluster {key}: write it as key=value, like --cluster partition=long")
    return Engine(name), {key.replace("-", "_"): value for key, _, value in pairs}


def _planned(recipe: str, overrides: list[str], limit: int | None) -> Plan:
    """The recipe's plan; an error of it also names the file."""
    from pipeline.curate import make_plan
    from pipeline.recipe import RecipeError, find_recipe, load_recipe

    checked = load_recipe(recipe, overrides)
    try:
        return make_plan(checked, limit)
    except RecipeError as error:
        raise RecipeError(f"{find_recipe(recipe)}: {error}") from error


@app.command(epilog="Example: [bold]fairtrove plan apertus[/]")
@exits
def plan(
    recipe: RecipeArgument,
    set_: SetOption = None,
    sample: Annotated[int, typer.Option(min=0, help="Documents per source to measure; 0 measures nothing.")] = 1000,
) -> None:
    """Check a recipe, list its work and estimate its cost, without running it.

    Everything that can be reached is checked: keys, paths, snapshots, models. The estimate extrapolates from the first
    documents of each source's smallest reachable local file.
    """
    from pipeline.plan import print_plan
    from pipeline.recipe import load_recipe

    if not print_plan(console, load_recipe(recipe, set_ or []), sample):
        raise typer.Exit(2)


@app.command(epilog="Example: [bold]fairtrove push out/mine s3://bucket/mine[/]")
@exits
def push(
    corpus: CorpusArgument,
    target: Annotated[str, typer.Argument(help="Folder in an object store: s3://bucket/mine.", show_default=False)],
) -> None:
    """Copy a corpus to an object store, where its readers see a whole version or none.

    Every file is checked against the manifest first; a version's run.json goes last. An interrupted push goes on where
    it was; after a new version is in place, shards that it no longer names are removed there.
    """
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from pipeline.push import push as run

    columns = (TextColumn("{task.description}"), TextColumn("{task.completed:,} files"), TimeElapsedColumn())
    with Progress(*columns, console=stderr) as progress:
        bar = progress.add_task("pushing", total=None)
        done = run(corpus, target, lambda name, size: progress.advance(bar))
    console.print(
        f"{done.sent:,} files ({done.bytes / 1e6:,.1f} MB) sent, {done.present:,} were there, "
        f"{done.removed:,} superseded shards removed."
    )


@app.command(epilog="Example: [bold]fairtrove retract out/mine --robots newer.parquet --dry-run[/]")
@exits
def retract(
    corpus: CorpusArgument,
    robots: Annotated[
        Path | None, typer.Option("--robots", help="The newer robots.txt snapshot, a Parquet file.", show_default=False)
    ] = None,
    takedown: Annotated[
        Path | None,
        typer.Option("--takedown", help="List of removal requests: hosts and URLs, one per line.", show_default=False),
    ] = None,
    agents: Annotated[
        str | None,
        typer.Option(
            "--agents",
            metavar="NAMES",
            help="Other agents than the corpus was made for: paper, training or strict, or tokens with commas.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go; write nothing.")] = False,
    keep_old: Annotated[bool, typer.Option("--keep-old", help="Keep the shards that are replaced.")] = False,
    was: Annotated[
        Path | None,
        typer.Option(
            "--was",
            help="The snapshot that the corpus was decided under, to decide only hosts that differ; found by itself "
            "where it lies beside the newer one.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Withdraw documents whose owners no longer allow them, and publish the next version.

    Each source is decided again under its recorded policy, only where its hosts say something else than before; the
    result is what a full re-run would be. Documents that are allowed again are listed: only curating restores them.
    """
    from manifests.report import write_report
    from pipeline.retract import retract as run
    from pipeline.table import print_paths, print_retraction

    found = run(corpus, robots, takedown, agents, dry_run, keep_old, was)
    print_retraction(console, found, dry_run)
    if found.published:
        write_report(found.corpus)
    print_paths(console, found.corpus)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        print(f"fairtrove {installed('fairtrove')}")
        raise typer.Exit()


class _Bar:
    """The progress bar of a run: input files by bytes, documents so far, time."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self._bar: TaskID | None = None
        self._files = 0
        self._total = 0
        self._documents: dict[str, int] = {}
        self._fractions: dict[str, tuple[int, float]] = {}

    def start(self, jobs: list[Any], current: list[str]) -> None:
        self._total = len(jobs)
        if jobs:
            self._bar = self._progress.add_task(
                "curating", total=sum(job.file.bytes for job in jobs) or 1, documents=0, files=f"0/{len(jobs)}"
            )

    def step(self, step: Any) -> None:
        self._documents[step.job.file.task] = step.documents
        self._fractions[step.job.file.task] = (step.job.file.bytes, step.fraction)
        self._show()

    def end(self, outcome: Any) -> None:
        self._fractions[outcome.job.file.task] = (outcome.job.file.bytes, 1.0)
        if outcome.report:
            self._documents[outcome.job.file.task] = outcome.report.rows
        self._files += 1
        self._show()

    def _show(self) -> None:
        if self._bar is not None:
            self._progress.update(
                self._bar,
                completed=sum(size * fraction for size, fraction in self._fractions.values()),
                documents=sum(self._documents.values()),
                files=f"{self._files}/{self._total}",
            )


@contextlib.contextmanager
def _progress() -> Iterator[_Bar]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[files]} files, {task.fields[documents]:,} documents"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr) as progress:
        yield _Bar(progress)


def main() -> None:
    """Entry point of the `fairtrove` command."""
    _quiet_libraries()
    app()


def _quiet_libraries() -> None:
    """Library chatter on stderr would bury our own one-line errors; FAIRTROVE_DEBUG=1 brings it back."""
    if os.environ.get("FAIRTROVE_DEBUG") != "1":
        import logging

        os.environ.setdefault("LOGURU_AUTOINIT", "0")  # read when it is imported, if it ever is
        logging.disable(logging.WARNING)


if __name__ == "__main__":
    main()
