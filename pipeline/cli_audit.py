"""`fairtrove audit` and `report`: whether a corpus is what its manifest says, and what there is to say about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

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


@app.command(epilog="Example: [bold]fairtrove report out/sample --eu --croissant --card[/]")
@exits
def report(
    corpus: CorpusArgument,
    eu: Annotated[
        bool,
        typer.Option("--eu", help="Also the AI Act's public summary, filled as far as manifests can, and its score."),
    ] = False,
    croissant: Annotated[bool, typer.Option("--croissant", help="Also Croissant metadata with RAI fields.")] = False,
    card: Annotated[bool, typer.Option("--card", help="Also a dataset card for the Hugging Face Hub.")] = False,
    profile: Annotated[
        Path | None,
        typer.Option(
            "--profile",
            metavar="FILE",
            help="TOML with what only the provider knows; --eu writes a form to fill in.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="CORPUS/report by default.", show_default=False),
    ] = None,
    version: Annotated[int | None, typer.Option(min=1, help="A version other than the newest.")] = None,
) -> None:
    """Write what there is to say about a corpus: one self-contained HTML page, and documents for others to read.

    Everything is taken from the manifests: index.html, eu-summary.md and .docx with eu-domains.csv, croissant.json,
    README.md. Nothing is made up; what a person must add is marked.
    """
    from manifests.corpus import open_corpus
    from manifests.published import write_documents
    from manifests.report import write_report
    from pipeline.table import shown

    found = open_corpus(corpus, version)
    folder = found.path / "report" if out is None else out
    given = _profile(profile)
    wanted = [name for name, asked in (("eu", eu), ("croissant", croissant), ("card", card)) if asked]
    if profile is not None and not wanted:
        raise UsageError(
            "--profile goes into --eu, --croissant or --card; the page takes everything from the manifests"
        )
    console.print(shown(write_report(found, folder / "index.html")), soft_wrap=True, highlight=False)
    for path, said in write_documents(found, folder, wanted, given):
        console.print(shown(path) + (f"  ({said})" if said else ""), soft_wrap=True, highlight=False, markup=False)


def _profile(path: Path | None) -> dict[str, Any]:
    import tomllib

    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--profile {path}: {error.strerror}; --eu writes a form, eu-profile.toml") from error
    except ValueError as error:
        raise UsageError(f"--profile {path}: not TOML ({error})") from error
