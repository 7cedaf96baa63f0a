"""`fairtrove robots`: snapshots of robots.txt, from crawls and from live servers, and what they cover."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.terminal import UsageError, console, escaped, exits, fail, stderr

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Make robots.txt snapshots, from crawls or live servers, and see what they cover.",
)

OutOption = Annotated[Path, typer.Option("--out", help="The snapshot, a Parquet file.", show_default=False)]


@app.command(
    epilog="Example: [bold]fairtrove robots build robotstxt/*.warc.gz older.parquet --out robots.parquet[/]",
)
@exits
def build(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Common Crawl robotstxt WARCs, folders with one file per host, snapshots.", show_default=False
        ),
    ],
    out: OutOption,
    date_: Annotated[
        str | None,
        typer.Option(
            "--date",
            metavar="DATE",
            help="When files of a folder (or rows without a date) were fetched: YYYY-MM-DD, or mtime.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Build a snapshot: one row per origin, the newest answer wins.

    An answer is replaced by a newer answer, but not by a later failure to get one (RFC 9309, 2.4). Redirects are
    followed where the sources hold their target. The same sources in any order give the same bytes.
    """
    from pipeline.snapshot_sources import check_source, read_source
    from pipeline.snapshots import Draft

    _check_out(out)
    for source in sources:
        check_source(source, date_)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("sources, {task.fields[answers]:,} answers"),
        TimeElapsedColumn(),
    )
    try:
        with Draft(out) as draft, Progress(*columns, console=stderr, disable=not stderr.is_terminal) as progress:
            bar = progress.add_task("reading", total=len(sources), answers=0)
            for source in sources:
                for answer in read_source(source, date_):
                    draft.add(answer)
                    if draft.read % 1000 == 0:
                        progress.update(bar, answers=draft.read)
                progress.update(bar, advance=1, answers=draft.read)
            progress.update(bar, description="writing")
            built = draft.publish()
    except KeyboardInterrupt:
        fail("interrupted; nothing was written", 130)
    _print_outcomes({str(outcome): count for outcome, count in built.outcomes.items()})
    console.print(
        f"\n{built.rows:,} origins of {built.read:,} answers in {escaped(str(out))} "
        f"({built.bytes:,} bytes, SHA-256 {built.sha256})",
        soft_wrap=True,
        highlight=False,
    )


@app.command(
    epilog="Example: [bold]fairtrove robots fetch hosts.txt --out robots.parquet --contact crawler@example.org[/]",
)
@exits
def fetch(
    hosts: Annotated[
        Path, typer.Argument(help="A text file: a host, host:port or URL per line, # comments.", show_default=False)
    ],
    out: OutOption,
    contact: Annotated[
        str,
        typer.Option(
            "--contact",
            help="E-mail address or URL of yours, sent in the User-Agent with each request.",
            show_default=False,
        ),
    ],
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="Hosts asked at the same time.")] = 50,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for one request, from name to last byte.")] = 30.0,
    retries: Annotated[int, typer.Option(min=0, max=10, help="Further attempts after 429, 5xx and timeouts.")] = 2,
    private: Annotated[
        bool, typer.Option("--private", help="Also ask addresses of private networks; refused otherwise.")
    ] = False,
    others: Annotated[
        bool,
        typer.Option(
            "--others/--robots-only",
            help="Also ask for /.well-known/tdmrep.json and /ai.txt, unless robots.txt bars it. Off by default: two "
            "more requests for each host, and of a million sites 37 reserve by TDMRep.",
        ),
    ] = False,
) -> None:
    """Retrieve robots.txt from live servers, politely, into a new snapshot.

    One request per host (https, or http where https cannot be had), redirects followed, at most 500 KiB. Failures are
    recorded as such and never as consent. Interrupted, the same command goes on from OUT.journal.
    """
    from pipeline.fetch import Limits, user_agent
    from pipeline.fetch_hosts import Retries, fetch_hosts

    _check_out(out)
    try:
        agent = user_agent(contact)
    except ValueError as error:
        raise UsageError(f"--contact {contact!r}: {error}") from error
    limits = Limits(connect=min(10.0, timeout), read=min(10.0, timeout), total=timeout, private=private)
    columns = (TextColumn("fetching"), BarColumn(), MofNCompleteColumn(), TextColumn("hosts"), TimeElapsedColumn())
    progress = Progress(*columns, console=stderr, disable=not stderr.is_terminal)

    def start(total: int, done: int) -> None:
        progress.start()
        progress.add_task("fetching", total=total, completed=done)

    try:
        result = fetch_hosts(
            hosts,
            out,
            agent,
            concurrency,
            limits,
            Retries(count=retries),
            start=start,
            step=lambda answer: progress.advance(progress.task_ids[0]),
            others=others,
        )
    finally:
        progress.stop()
    _print_outcomes(result.outcomes)
    console.print(
        f"\n{result.built.rows:,} hosts in {escaped(str(out))}"
        + (f", {result.resumed:,} of them from the run before" if result.resumed else "")
        + f" ({result.built.bytes:,} bytes, SHA-256 {result.built.sha256})",
        soft_wrap=True,
        highlight=False,
    )


@app.command(epilog="Example: [bold]fairtrove robots coverage out/sample robots.parquet --json | jq .by_age[/]")
@exits
def coverage(
    corpus: Annotated[Path, typer.Argument(help="Folder of a corpus.", show_default=False)],
    snapshot: Annotated[Path, typer.Argument(help="A robots snapshot.", show_default=False)],
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of", metavar="DATE", help="Day from which ages count back; today by default.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")] = False,
) -> None:
    """Say what share of a corpus's documents and text, kept and excluded, has an entry in a snapshot, and how old."""
    from manifests.corpus import open_corpus
    from pipeline.coverage import measure_coverage, print_coverage

    try:
        day = date.fromisoformat(as_of) if as_of else datetime.now(UTC).date()
    except ValueError as error:
        raise UsageError(f"--as-of {as_of}: not a date; write YYYY-MM-DD") from error
    found = measure_coverage(open_corpus(corpus), snapshot, day)
    if as_json:
        print(json.dumps(found.to_json(), indent=1))
    else:
        print_coverage(console, found)


@app.command(
    epilog="Example: [bold]fairtrove robots compare out/sample robots.parquet --policy paper --policy strict[/]",
)
@exits
def compare(
    corpus: Annotated[Path, typer.Argument(help="Folder of a corpus.", show_default=False)],
    snapshot: Annotated[Path, typer.Argument(help="A robots snapshot.", show_default=False)],
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            metavar="POLICY",
            help="paper, training, strict or tokens like GPTBot+CCBot; settings may follow: strict,star=ignore or "
            "paper,unknown=exclude,signals=none. Once for each policy, the first is compared with. Default: all three.",
            show_default=False,
        ),
    ] = None,
    takedown: Annotated[
        Path | None, typer.Option("--takedown", help="List of removal requests, for all of them.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")] = False,
) -> None:
    """Say what each consent policy would drop from a corpus, and how much more than the first. Reads no text."""
    from manifests.corpus import open_corpus
    from pipeline.compare import DEFAULT_POLICIES, compare_policies, print_comparison

    opened = open_corpus(corpus)
    columns = (TextColumn("asking"), BarColumn(), MofNCompleteColumn(), TextColumn("documents"), TimeElapsedColumn())
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal, transient=True) as progress:
        bar = progress.add_task("asking", total=opened.run["totals"]["rows"])
        found = compare_policies(
            opened, snapshot, policy or DEFAULT_POLICIES, takedown, lambda documents: progress.advance(bar, documents)
        )
    if as_json:
        print(json.dumps(found.to_json(), indent=1))
    else:
        print_comparison(console, found)


def _check_out(out: Path) -> None:
    if out.is_dir():
        raise UsageError(f"--out {out}: is a folder; give the snapshot a name, like {out / 'robots.parquet'}")
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise UsageError(f"--out {out}: {folder} is a file, not a folder")


def _print_outcomes(outcomes: dict[str, int]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("outcome", min_width=28)
    table.add_column("hosts", justify="right")
    table.add_column("share", justify="right")
    total = sum(outcomes.values()) or 1
    for outcome, count in outcomes.items():
        table.add_row(outcome, f"{count:,}", f"{100 * count / total:.1f}%")
    console.print(table)
