"""`fairtrove audit` and `report`: whether a corpus is what its manifest says, and what there is to say about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.terminal import UsageError, console, exits, stderr

app = typer.Typer()

CorpusArgument = Annotated[
    Path, typer.Argument(help="Folder of a corpus, or of its manifests alone.", show_default=False)
]


@app.command(epilog="Example: [bold]fairtrove audit out/sample --json | jq .passed[/]")
@exits
def audit(
    corpus: CorpusArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")] = False,
    version: Annotated[int | None, typer.Option(min=1, help="A version other than the newest.")] = None,
    root: Annotated[str | None, typer.Option("--root", metavar="HEX", help="The root that you were told.")] = None,
    robots: Annotated[
        list[Path] | None,
        typer.Option(
            "--robots",
            metavar="FILE",
            help="The robots.txt snapshot that the corpus rests on: consent is re-derived from it. May be repeated.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        int, typer.Option(min=0, help="Documents drawn at random and decided again by every filter; 0 draws none.")
    ] = 15_000,
    seed: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Another draw than the root's, which its maker knew.", show_default=False),
    ] = None,
) -> None:
    """Check a corpus with its manifests: digests, conservation, Merkle roots, evidence, and documents decided again.

    Exit code 1 if a check fails. Of a copy without shards everything is checked that needs no text.
    """
    from manifests.audit import audit as check
    from manifests.audit import render, to_json
    from manifests.corpus import open_corpus
    from manifests.publish import kept_versions
    from manifests.schema import FairtroveError
    from pipeline.recheck import consent_recheck
    from pipeline.rescan import filter_rescan

    found = open_corpus(corpus, version)
    if found.version not in kept_versions(found.path):
        newest = open_corpus(corpus).version
        raise FairtroveError(
            f"{corpus}: version {version} is superseded by version {newest} and its shards were removed (--keep-old "
            "keeps them); its tables in manifests/ are still there to be read"
        )
    if robots and not sample:
        raise UsageError("--robots needs --sample above 0: it says how many decisions are derived again")
    with stderr.status("checking digests, rows and roots") as status:
        recheck = consent_recheck(found, robots or [])
        rescan = filter_rescan(found, robots or [], lambda number: status.update(f"{number:,} documents scanned again"))
        result = check(
            found,
            expected_root=root,
            recheck=recheck if sample else None,
            rescan=rescan if sample else None,
            documents=sample,
            seed=seed,
        )
    if as_json:
        print(json.dumps(to_json(result), indent=1))
    else:
        console.print(render(result))
    if not result.passed:
        raise typer.Exit(1)


@app.command(epilog="Example: [bold]fairtrove report out/sample[/]")
@exits
def report(corpus: CorpusArgument) -> None:
    """Write the corpus's report, one self-contained HTML page, to CORPUS/report/index.html."""
    from manifests.corpus import open_corpus
    from manifests.report import write_report
    from pipeline.table import shown

    console.print(shown(write_report(open_corpus(corpus))), soft_wrap=True)
