"""The training run: a recipe and a corpus in; checkpoints, metrics and a model that `transformers` loads out.

    python -m train.trainer tiny --corpus out/sample --out out/tiny
    torchrun --nproc-per-node 8 -m train.trainer 1b --corpus CORPUS --out OUT

A run refuses a corpus that its audit fails or whose shards are not the ones its manifest vouches for, and records in
every checkpoint the Merkle root, the recipe and the exact position in the data. Killed at any moment and started again,
it goes on from the newest checkpoint and computes the same losses, bit for bit on the same machine: the order of the
data is a function of one integer, the position, and nothing else in a step is drawn at random. If documents have been
withdrawn from the corpus in between, it goes on without them.

What OUT holds: `cache/` (tokenizer and tokens), `checkpoints/`, `metrics.jsonl` (one line per step), `tensorboard/`,
`export/` (weights for `transformers`), `summary.json`, `report.html`.

To read the trainer in an evening: `goldfish`, `tokens`, `data`, `model`, `run`, this file; the rest as they call it.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

try:
    import torch
except ModuleNotFoundError:
    if __name__ != "__main__":
        raise
    print("error: PyTorch is not installed; install the extra: pip install 'fairtrove[train]'", file=sys.stderr)
    sys.exit(2)

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from manifests.audit import audit
from manifests.corpus import Corpus, open_corpus
from manifests.files import file_sha256
from manifests.schema import FairtroveError
from train.checkpoint import Checkpoint, latest_checkpoint
from train.distributed import World, join_world
from train.errors import TrainError
from train.metrics import MetricsFile, metric_lines
from train.publish import publish_text, remove_leftovers
from train.recipe import PROLONGABLE, Recipe, load_recipe
from train.remote import local_corpus
from train.run import START_ANEW, Inputs, Run
from train.summary import Summary, print_summary, report_page
from train.tokenizer import DocumentTokenizer, load_tokenizer, train_tokenizer
from train.tokens import TokenCache, open_cache, read_texts, reopen_cache


def train(
    recipe_path: str | Path,
    corpus_path: str | Path,
    out_path: str | Path,
    overrides: Sequence[str] = (),
    *,
    restart: bool = False,
    console: Console | None = None,
) -> Summary:
    """Train from the newest checkpoint in `out_path`, or from the start, to the recipe's last step.

    Args:
        recipe_path: a recipe file, or the name of a shipped one.
        corpus_path: folder of a curated corpus, or its fsspec address, which is copied into `out_path`.
        out_path: folder of the run.
        overrides: `section.key=value` each, on top of the recipe.
        restart: delete the checkpoints, metrics and exports in `out_path` first.
        console: where progress goes; standard error by default.

    Raises:
        FairtroveError: the recipe, corpus, tokenizer or checkpoint cannot be used; the message says what to do.
    """
    recipe, recipe_file = load_recipe(recipe_path, overrides)
    with join_world(recipe.training.device) as world:
        console = console or Console(stderr=True)
        console.quiet = console.quiet or not world.first
        if recipe.training.threads:
            torch.set_num_threads(recipe.training.threads)
        out = Path(out_path)
        place = world.on_first(lambda: local_corpus(corpus_path, out / "corpus"))
        world.on_first(lambda: _check_corpus(open_corpus(place), out, console))
        corpus = open_corpus(place)
        with _only_run_in(out) if world.first else nullcontext():
            if restart:
                world.on_first(lambda: _discard(out))
            world.on_first(lambda: remove_leftovers(out / "checkpoints"))
            return _resume_or_begin(recipe, recipe_file, corpus, out, world, console)


def _resume_or_begin(
    recipe: Recipe, recipe_file: Path, corpus: Corpus, out: Path, world: World, console: Console
) -> Summary:
    checkpoint = world.on_first(lambda: latest_checkpoint(out / "checkpoints"))
    if checkpoint:
        _check_resumable(checkpoint, recipe)
    # the first worker trains the tokenizer and builds the cache, the others find them
    world.on_first(lambda: _open_tokens(recipe, recipe_file, corpus, out, checkpoint) and None)
    tokenizer, cache = _open_tokens(recipe, recipe_file, corpus, out, checkpoint)
    text_bytes = sum(shard.text_bytes for shard in corpus.shards)
    console.print(
        f"tokens    {len(cache.tokens):,} in {len(cache.starts):,} documents, vocabulary {tokenizer.vocab_size:,}, "
        f"{text_bytes / max(len(cache.tokens), 1):.2f} bytes per token",
        highlight=False,
    )
    if withdrawn := cache.withdrawn:
        console.print(
            f"withdrawn {len(withdrawn):,} documents since this run began; they are masked from here on",
            highlight=False,
        )
    run = Run(Inputs(recipe, corpus, tokenizer, cache, out), world)
    if checkpoint:
        run.restore(checkpoint)
    console.print(
        f"model     {run.parameters:,} parameters on {world.device.type}"
        + (f", {world.ranks} workers ({recipe.training.parallel}), " if world.ranks > 1 else ", ")
        + (f"resumed at step {run.step} of {recipe.training.steps}" if run.step else f"{recipe.training.steps} steps"),
        highlight=False,
    )
    _train_to_the_end(run, console)
    return _summarize(run)


def _train_to_the_end(run: Run, console: Console) -> None:
    """Take the steps that are left; save checkpoints and metrics on the way."""
    total, every = run.inputs.recipe.training.steps, run.inputs.recipe.checkpoint.every
    report_every = max(1, total // 10)
    opened = MetricsFile(run.inputs.out, run.step) if run.world.first else nullcontext()
    with opened as metrics_file, run.batches() as batches, _progress(console) as progress:
        task = progress.add_task("train", total=total, completed=run.step, loss="", speed="")
        try:
            while run.step < total:
                metrics = run.take_step(batches)
                if metrics_file is not None:
                    metrics_file.write(metrics)
                loss, speed = f"loss {metrics['loss']:.3f}", f"{metrics['tokens_per_second']:,.0f} tokens/s"
                speed += f", MFU {metrics['mfu']:.1%}" if "mfu" in metrics else ""
                progress.update(task, completed=run.step, loss=loss, speed=speed)
                if not console.is_terminal and (run.step % report_every == 0 or run.step == total):
                    console.print(f"step {run.step:>6} of {total}  {loss}  {speed}", highlight=False)
                if run.step % every == 0 or run.step == total:
                    run.save(metrics_file)
        finally:
            run.checkpoints.wait()


def _summarize(run: Run) -> Summary:
    """Evaluate, export, let the model write a line, and record it all."""
    out, recipe = run.inputs.out, run.inputs.recipe
    export = out / "export" / f"step-{run.step:08d}"
    run.export(export)
    validation_loss, sample = run.evaluate(), run.write_sample()
    lines = run.world.on_first(lambda: metric_lines(out / "metrics.jsonl", run.step))
    losses = [json.loads(line)["loss"] for line in lines]
    rates = [json.loads(line).get("mfu") for line in lines[run.resumed_from :]]
    summary = Summary(
        steps=run.step,
        resumed_from=run.resumed_from,
        parameters=run.parameters,
        first_loss=losses[0],
        last_loss=losses[-1],
        validation_loss=validation_loss,
        losses=losses,
        supervised=run.supervised,
        dropped=run.dropped,
        tokens_per_second=statistics.median_high(run.speeds) if run.speeds else None,
        wait=sum(run.waits) / len(run.waits) if run.waits else None,
        mfu=statistics.median_high(rates) if rates and None not in rates else None,
        corpus_root=run.inputs.corpus.root,
        sample=sample,
        checkpoint=str(out / "checkpoints" / f"step-{run.step:08d}"),
        export=str(export),
        metrics=str(out / "metrics.jsonl"),
        report=str(out / "report.html"),
    )
    if run.world.first:
        publish_text(out / "summary.json", json.dumps(asdict(summary), indent=2, ensure_ascii=False) + "\n")
        publish_text(out / "report.html", report_page(summary, recipe))
    return summary


def _check_corpus(corpus: Corpus, out: Path, console: Console) -> None:
    """Refuse what cannot be accounted for: every start compares all files with their digests, the first one audits."""
    corpus.verify_manifest()
    corpus.verify_shards()
    if not sum(shard.rows for shard in corpus.shards):
        raise TrainError(f"{corpus.path}: the corpus holds no documents; curate one with a recipe that keeps some")
    record = out / "audited.txt"
    audited = record.read_text(encoding="utf-8").split() if record.exists() else []
    digest = file_sha256(corpus.manifest / "run.json")  # binds every file of the version
    if digest not in audited:
        result = audit(corpus)
        failed = [check for check in result.checks if not check.passed]
        if failed:
            raise TrainError(
                f"{corpus.path}: fails its audit ({', '.join(check.name for check in failed)}); "
                f"`fairtrove audit {corpus.path}` says where; nothing is trained on it"
            )
        publish_text(record, "".join(f"{line}\n" for line in [*audited, digest]))
    console.print(
        f"corpus    v{corpus.version}, root {corpus.root[:16]}…, audited, {len(corpus.shards)} shards verified",
        highlight=False,
    )


@contextmanager
def _only_run_in(out: Path) -> Iterator[None]:
    """Hold the folder, so that two runs never write into each other's; the system lets go of it if we are killed."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainError(f"{out}: another run is using this folder; wait for it, or use another --out") from error
        yield


def _discard(out: Path) -> None:
    for name in ("checkpoints", "export", "tensorboard"):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in ("metrics.jsonl", "summary.json", "report.html"):
        (out / name).unlink(missing_ok=True)


def _check_resumable(checkpoint: Checkpoint, recipe: Recipe) -> None:
    provenance = checkpoint.provenance
    try:
        before = Recipe.model_validate(provenance.recipe)
    except ValueError as error:
        raise TrainError(f"{checkpoint.folder}: its recipe is of another version of fairtrove; {START_ANEW}") from error
    changed = [key for key in recipe.differences(before) if not key.startswith(PROLONGABLE)]
    if changed:
        raise TrainError(f"{checkpoint.folder}: the recipe has changed since ({', '.join(changed)}); {START_ANEW}")
    if provenance.step > recipe.training.steps:
        raise TrainError(f"{checkpoint.folder}: already past training.steps {recipe.training.steps}; {START_ANEW}")


def _open_tokens(
    recipe: Recipe, recipe_file: Path, corpus: Corpus, out: Path, checkpoint: Checkpoint | None
) -> tuple[DocumentTokenizer, TokenCache]:
    """The tokenizer and the tokens; those that the run began with, if it has a checkpoint."""
    folder = out / "cache"
    tokenizer = _open_tokenizer(recipe, recipe_file, corpus, folder, checkpoint)
    if not checkpoint:
        return tokenizer, open_cache(corpus, tokenizer, folder, recipe.mask)
    if checkpoint.provenance.tokenizer_sha256 != tokenizer.digest:
        raise TrainError(f"{checkpoint.folder}: trained with another tokenizer than {tokenizer.path}; {START_ANEW}")
    began = checkpoint.provenance.corpora[0]["root"]
    return tokenizer, reopen_cache(corpus, began, tokenizer, folder, recipe.mask)


def _open_tokenizer(
    recipe: Recipe, recipe_file: Path, corpus: Corpus, folder: Path, checkpoint: Checkpoint | None
) -> DocumentTokenizer:
    settings = recipe.tokenizer
    if settings.path is not None:
        return load_tokenizer(recipe_file.parent / settings.path, settings.begin, settings.end)
    root = checkpoint.provenance.corpora[0]["root"] if checkpoint else corpus.root
    prefix = f"tokenizer-{root[:16]}-"
    for other in folder.glob("tokenizer-*.json"):
        if not other.name.startswith(prefix):
            other.unlink()  # learned from a corpus of which something may be withdrawn since
    path = folder / f"{prefix}{settings.vocab_size}-{settings.train_bytes}.json"
    if path.exists():
        return load_tokenizer(path)
    if root != corpus.root:
        raise TrainError(f"{path}: the tokenizer that the run began with is gone; {START_ANEW}")
    return train_tokenizer(read_texts(corpus, settings.train_bytes), settings.vocab_size, path)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}  {task.fields[speed]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog="Example: python -m train.trainer tiny --corpus out/sample --out out/tiny --set training.steps=50")
def command(
    recipe: Annotated[str, typer.Argument(help="Recipe file, or a shipped one: tiny, 1b, 8b, 70b.")],
    corpus: Annotated[str, typer.Option(help="Folder of a curated corpus, or an address like s3://bucket/corpus.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoints, metrics, exported model.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a key of the recipe.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Discard the checkpoints in OUT and begin anew.")] = False,
) -> None:
    """Train a model on a curated corpus, or go on with a run that was stopped."""
    try:
        summary = train(recipe, corpus, out, overrides or (), restart=restart)
        print_summary(summary, load_recipe(recipe, overrides or ())[0], Console())
    except FairtroveError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error


def main() -> None:
    """Entry of `python -m train.trainer`."""
    app()


if __name__ == "__main__":
    main()
