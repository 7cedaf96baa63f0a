"""`fairtrove ask`, `verify` and `key`: what a corpus holds of a site, with a receipt that a third party can check."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.terminal import UsageError, console, escaped, exits, fail

app = typer.Typer()
key_app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Make a key pair that signs receipts.")

JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")]


@app.command(epilog="Example: [bold]fairtrove ask out/sample bagh-e-anar.example --json | jq .versions[/]")
@exits
def ask(
    corpus: Annotated[Path, typer.Argument(help="Folder of a corpus.", show_default=False)],
    site: Annotated[str, typer.Argument(help="A host, with its subdomains; or host:port alone.", show_default=False)],
    url: Annotated[str | None, typer.Argument(help="One address on that site.", show_default=False)] = None,
    receipt: Annotated[
        Path | None, typer.Option("--receipt", help="Also write a signed receipt there.", show_default=False)
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="Private key that signs it (`fairtrove key new`).", show_default=False)
    ] = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="Version of the receipt; the newest by default.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what was kept and excluded of a site, in each version, by which stage, reason, signal, line and date.

    A receipt proves the answer of one version to somebody who has its two roots and `fairtrove verify`.
    """
    from manifests.ask import QuestionError, render, to_json
    from manifests.ask import ask as find
    from pipeline.addresses import locate

    if (receipt is None) != (key is None):
        raise UsageError("--receipt and --key go together: a receipt is signed; `fairtrove key new FILE` makes a key")
    if version is not None and receipt is None:
        raise UsageError("--version chooses what a receipt proves; without --receipt all versions are shown")
    try:
        answer = find(corpus, site, url, locate=locate)
    except QuestionError as error:
        raise UsageError(str(error)) from error
    if receipt is not None and key is not None:
        from manifests.receipt import KeyFileError, write_receipt

        try:
            write_receipt(answer, key, receipt, version)
        except KeyFileError as error:
            raise UsageError(str(error)) from error
    if as_json:
        print(json.dumps(to_json(answer), indent=1))
    else:
        console.print(render(answer), soft_wrap=True, highlight=False)
        if receipt is not None:
            console.print(f"Receipt: {escaped(str(receipt))}", soft_wrap=True, highlight=False)


@app.command(
    epilog="Example: [bold]fairtrove verify receipt.json --root out/sample/manifests/v0001/run.json --key mine.pub[/]"
)
@exits
def verify(
    receipt: Annotated[Path, typer.Argument(help="A receipt.", show_default=False)],
    root: Annotated[
        list[str],
        typer.Option(
            "--root",
            metavar="HEX",
            help="A root that you trust, of the corpus or of its hosts; may be repeated. Or a run.json that you trust.",
            show_default=False,
        ),
    ],
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="HEX", help="The signer's public key, or a file with it.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a receipt offline. Exit code 1 unless everything in it but what it calls stated is proved."""
    from manifests.verify import ReceiptError
    from manifests.verify import verify as check

    try:
        content = receipt.read_bytes()
    except OSError as error:
        raise UsageError(f"{receipt}: {error.strerror}; give the file that `fairtrove ask --receipt` wrote") from error
    try:
        proved = check(content, [value for given in root for value in _roots(given)], _public_key(key))
    except ReceiptError as error:
        fail(f"{receipt}: not proved: {error}", 1)
    if as_json:
        print(json.dumps(proved, indent=1, default=bytes.hex))
        return
    for line in _lines(proved, signed=key is not None):
        console.print(escaped(line), soft_wrap=True, highlight=False)


@key_app.command(epilog="Example: [bold]fairtrove key new receipts.pem[/]")
@exits
def new(file: Annotated[Path, typer.Argument(help="Private key to make.", show_default=False)]) -> None:
    """Make an ed25519 key pair: FILE, which stays with you, and FILE.pub, which goes out with the corpus's roots."""
    from manifests.receipt import KeyFileError, new_key

    try:
        public = new_key(file)
    except KeyFileError as error:
        raise UsageError(str(error)) from error
    console.print(f"public key {public}", soft_wrap=True, highlight=False)


@key_app.callback()
def _keys() -> None:
    """Makes `new` a subcommand, although it is the only one."""


def _roots(given: str) -> list[str]:
    if _HEX.fullmatch(given.strip()):
        return [given]
    try:
        return [str(root) for root in json.loads(Path(given).read_bytes())["roots"].values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"--root {given}: neither 64 hexadecimal digits nor a run.json") from error


def _public_key(given: str | None) -> str | None:
    if given is None or _HEX.fullmatch(given.strip()):
        return given
    try:
        content = Path(given).read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise UsageError(f"--key {given}: neither 64 hexadecimal digits nor a file with them") from error
    if not _HEX.fullmatch(content.strip()):
        raise UsageError(f"--key {given}: holds no 64 hexadecimal digits; give the .pub file of the pair")
    return content


_HEX = re.compile(r"[0-9a-fA-F]{64}")


def _lines(proved: dict[str, Any], signed: bool) -> list[str]:
    from manifests.ask import host_of
    from manifests.printable import printable

    site = host_of(proved["rhost"])
    under = " and ".join(f"{root} ({name})" for name, root in proved["roots"].items())
    lines = [f"proved: this is all that the corpus has of {site}, under {under}"]
    for row in proved["hosts"]:
        how = "kept" if row["action"] == "keep" else f"excluded by {row['stage']}: {row['reason']}"
        lines.append(f"  {host_of(row['rhost'])}: {row['rows']:,} {how} ({row['text_bytes']:,} B)")
    if not proved["hosts"]:
        lines.append("  nothing, neither kept nor excluded")
    for document in proved["documents"]:
        which = f"  document {document['key'].hex()} of task {document['task']}"
        if document["table"] == "kept":
            lines.append(f"{which}: kept, digest of its text {document['text_digest'].hex()}")
        else:
            evidence = document["evidence"] or []
            ground = ", ".join(str(value) for value in evidence[1:] if isinstance(value, (str, int)))
            lines.append(f"{which}, {document['path']}: {document['stage']}: {document['reason']}: {ground}")
    stated = proved["stated"]
    trust = "signed by your key, not proved" if signed else "stated by whoever signed, not proved"
    lines.append(f"{trust}: version {stated['version']}")
    for page in stated["pages"]:
        where = f"{page['shard']}, row {page['row']}" if page["kept"] else "excluded"
        lines.append(f"  document {page['key']} is {page['url']}: {where}")
    if stated["url"] is not None and not stated["pages"]:
        lines.append(f"  no document has the address {stated['url']}")
    return [printable(line) for line in lines]
