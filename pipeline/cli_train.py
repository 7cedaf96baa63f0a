"""`fairtrove steps` and `tokenizer`: what a training run saw of a site, and token ids for a corpus."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.terminal import UsageError, console, exits

app = typer.Typer()


@app.command(epilog="Example: [bold]fairtrove steps out/sample bagh-e-anar.example --checkpoint out/sample-model[/]")
@exits
def steps(
    corpus: Annotated[Path, typer.Argument(help="Folder of the corpus that was trained on.", show_default=False)],
    site: Annotated[str, typer.Argument(help="A host, with its subdomains; or host:port alone.", show_default=False)],
    checkpoint: Annotated[
        Path, typer.Option("--checkpoint", help="Folder of a checkpoint, or of a run.", show_default=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")] = False,
) -> None:
    """Say which steps of a training run saw a site's documents, up to a checkpoint.

    Nothing was logged for it: the checkpoint records the corpus, the recipe and the position in the data, and the order
    of the data follows from them. Documents withdrawn while the run went on count until they were masked.
    """
    from manifests.ask import QuestionError
    from pipeline.intake import locate

    _need_torch()
    from train.steps import find_steps, render

    try:
        seen = find_steps(corpus, site, checkpoint, locate=locate)
    except QuestionError as error:
        raise UsageError(str(error)) from error
    if as_json:
        print(json.dumps(seen.to_json(), indent=1))
    else:
        console.print(render(seen), soft_wrap=True, highlight=False, markup=False)


@app.command(epilog="Example: [bold]fairtrove tokenizer out/sample --out out/tokenizer.json --vocab-size 4096[/]")
@exits
def tokenizer(
    corpus: Annotated[Path, typer.Argument(help="Folder of a corpus.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The JSON file to write.", show_default=False)],
    vocab_size: Annotated[
        int, typer.Option("--vocab-size", min=260, help="Tokens: 256 bytes, 4 special ones, and merges.")
    ] = 131_072,
    train_bytes: Annotated[
        int, typer.Option("--bytes", min=1, help="Bytes of text to learn from, drawn from all shards alike.")
    ] = 1_000_000_000,
) -> None:
    """Train a byte-level BPE tokenizer on a corpus, with the document boundaries that the trainer needs.

    The file is of the `tokenizers` library; name it as `path` in a recipe's [tokenizer]. The same corpus gives the same
    file. Ids 0 to 3 are <unk>, <s> (a document begins), </s> (it ends) and <pad>, as in Apertus.
    """
    from manifests.corpus import open_corpus

    _need_torch()
    from train.tokenizer import train_tokenizer
    from train.tokens import read_texts

    if out.suffix != ".json" or out.is_dir():
        raise UsageError(f"--out {out}: give the name of a .json file")
    found = open_corpus(corpus)
    found.verify_shards()
    if not any(shard.text_bytes for shard in found.shards):
        raise UsageError(f"{corpus}: the corpus holds no text to learn from")
    made = train_tokenizer(read_texts(found, train_bytes), vocab_size, out)
    console.print(f"{made.vocab_size:,} tokens, SHA-256 {made.digest[:16]}…", highlight=False)
    if made.vocab_size < vocab_size:
        console.print(f"There was not enough text for {vocab_size:,}: no further pair of tokens occurs twice.")
    console.print(str(out), soft_wrap=True, highlight=False, markup=False)


def _need_torch() -> None:
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("tokenizers") is None:
        raise UsageError("this needs PyTorch and tokenizers; install the extra: pip install 'fairtrove[train]'")
