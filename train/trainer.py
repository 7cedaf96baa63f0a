"""The training run: a recipe and a corpus in; checkpoints, metrics and a model that `transformers` loads out.

    python -m train.trainer tiny --corpus out/sample --out out/tiny

A run refuses a corpus whose shards are not the ones its manifest vouches for, and records in every checkpoint the
Merkle root, the recipe and the exact position in the data. Killed at any moment and started again, it goes on from the
newest checkpoint and computes the same losses, bit for bit on the same machine: the order of the data is a function of
one integer, the position, and nothing else in a step is drawn at random.

The loss of a step is the sum over its kept targets divided by their number in the whole step, not per micro-batch: a
Goldfish mask leaves a different number of targets in each.

What OUT holds: `cache/` (tokenizer and tokens), `checkpoints/`, `metrics.jsonl` (one line per step), `export/` (weights
for `transformers`), `summary.json`. Measured: `tiny` on 200 kB of text in many scripts takes 62 CPU-seconds on one
shared core, and its loss falls from 7.65 to 5.73.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO

try:
    import torch
    import torch.nn.functional as F
except ModuleNotFoundError:
    if __name__ != "__main__":
        raise
    print("error: PyTorch is not installed; install the extra: pip install 'fairtrove[train]'", file=sys.stderr)
    sys.exit(2)

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from manifests.corpus import Corpus, open_corpus
from manifests.schema import FairtroveError
from train.checkpoint import Checkpoint, Provenance, latest_checkpoint, save_checkpoint
from train.data import IGNORED, Batch, PackedRows, TokenCache, open_cache, read_texts, split_documents
from train.errors import TrainError
from train.goldfish import Variant
from train.model import Apertus, ModelShape, export_transformers
from train.optim import AdEMAMix, parameter_groups
from train.publish import publish_text
from train.recipe import PROLONGABLE, Recipe, load_recipe
from train.schedule import WarmupStableDecay
from train.tokenizer import DocumentTokenizer, load_tokenizer, train_tokenizer

_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Summary:
    """What a finished run has to show; also written as `summary.json`.

    Attributes:
        steps: optimizer steps taken in all.
        resumed_from: step at which this start took up the run, 0 for a new one.
        parameters: of the model.
        first_loss, last_loss: training loss of the first and the last step, nats per kept target.
        validation_loss: on held-out documents, without mask; None when none are held out.
        losses: training loss of each step.
        supervised, dropped: targets trained on, and left out by the Goldfish mask.
        tokens_per_second: median over this start's steps, None when it took none.
        corpus_root: Merkle root of the corpus.
        sample: text that the model wrote.
        checkpoint, export, metrics: where the results lie.
    """

    steps: int
    resumed_from: int
    parameters: int
    first_loss: float
    last_loss: float
    validation_loss: float | None
    losses: list[float]
    supervised: int
    dropped: int
    tokens_per_second: float | None
    corpus_root: str
    sample: str
    checkpoint: str
    export: str
    metrics: str

    @property
    def drop_rate(self) -> float:
        """Share of the targets that the Goldfish mask left out."""
        return self.dropped / max(self.supervised + self.dropped, 1)


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
        corpus_path: folder of a curated corpus.
        out_path: folder of the run.
        overrides: `section.key=value` each, on top of the recipe.
        restart: delete the checkpoints, metrics and exports in `out_path` first.
        console: where progress goes; standard error by default.

    Raises:
        FairtroveError: the recipe, corpus, tokenizer or checkpoint cannot be used; the message says what to do.
    """
    console = console or Console(stderr=True)
    recipe, recipe_file = load_recipe(recipe_path, overrides)
    out = Path(out_path)
    corpus = open_corpus(corpus_path)
    corpus.verify_manifest()
    corpus.verify_shards()
    if not sum(shard.rows for shard in corpus.shards):
        raise TrainError(f"{corpus.path}: the corpus holds no documents; curate one with a recipe that keeps some")
    console.print(
        f"corpus    v{corpus.version}, root {corpus.root[:16]}…, {len(corpus.shards)} shards verified", highlight=False
    )
    device = _prepare_device(recipe)
    with _only_run_in(out):
        if restart:
            _discard(out)
        return _resume_or_begin(recipe, recipe_file, corpus, out, device, console)


def _resume_or_begin(
    recipe: Recipe, recipe_file: Path, corpus: Corpus, out: Path, device: torch.device, console: Console
) -> Summary:
    checkpoint = latest_checkpoint(out / "checkpoints")
    if checkpoint:
        _check_resumable(checkpoint, recipe, corpus)
    tokenizer = _open_tokenizer(recipe, recipe_file, corpus, out / "cache")
    if checkpoint and checkpoint.provenance.tokenizer_sha256 != tokenizer.digest:
        raise TrainError(f"{checkpoint.folder}: trained with another tokenizer than {tokenizer.path}; {_START_ANEW}")
    cache = open_cache(corpus, tokenizer, out / "cache")
    text_bytes = sum(shard.text_bytes for shard in corpus.shards)
    console.print(
        f"tokens    {len(cache.tokens):,} in {len(cache.starts):,} documents, vocabulary {tokenizer.vocab_size:,}, "
        f"{text_bytes / max(len(cache.tokens), 1):.2f} bytes per token",
        highlight=False,
    )
    run = _Run(recipe, corpus, tokenizer, cache, out, device)
    if checkpoint:
        run.restore(checkpoint)
    console.print(
        f"model     {run.parameters:,} parameters on {device.type}, "
        + (f"resumed at step {run.step} of {recipe.training.steps}" if run.step else f"{recipe.training.steps} steps"),
        highlight=False,
    )
    run.train_to_the_end(console)
    return run.summarize()


def print_summary(summary: Summary, recipe: Recipe, console: Console) -> None:
    """The end of a run, for people: the loss curve, a table, a sample of text and where to look next."""
    console.print(f"\n[bold]loss[/bold], steps 1 to {summary.steps}")
    for line in loss_curve(summary.losses):
        console.print(line, highlight=False, markup=False)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # digests and paths must be copied whole
    table.add_row("loss, first step", f"{summary.first_loss:.3f}")
    table.add_row("loss, last step", f"{summary.last_loss:.3f}")
    if summary.validation_loss is not None:
        table.add_row("loss, held-out documents", f"{summary.validation_loss:.3f}")
    if recipe.goldfish.variant is Variant.OFF:
        table.add_row("goldfish", "off")
    else:
        mask = recipe.goldfish
        nominal = f"{mask.variant}, k={mask.k}, h={mask.h}: {1 / mask.k:.2%} nominal"
        table.add_row("goldfish", f"{summary.drop_rate:.2%} of targets left out ({nominal})")
    if summary.tokens_per_second is not None:
        table.add_row("speed", f"{summary.tokens_per_second:,.0f} tokens/s")
    table.add_row("corpus root", summary.corpus_root)
    for name in ("checkpoint", "export", "metrics"):
        table.add_row(name, getattr(summary, name))
    console.print(table, highlight=False)
    console.print("\n[bold]the model writes[/bold]")
    console.print(escape(summary.sample.strip()) or "(nothing)", highlight=False)


def loss_curve(losses: Sequence[float], width: int = 64, height: int = 8) -> list[str]:
    """A plot in block characters, highest loss on top; each column is the mean of its steps."""
    if not losses:
        return []
    width = min(width, len(losses))
    edges = [round(column * len(losses) / width) for column in range(width + 1)]
    columns = [sum(losses[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(columns), max(columns)
    # the lowest column keeps one eighth of a block, so that it is seen
    eighths = [1 + round((value - low) / ((high - low) or 1) * (8 * height - 1)) for value in columns]
    lines = []
    for row in reversed(range(height)):
        label = f"{high:7.3f} " if row == height - 1 else f"{low:7.3f} " if row == 0 else " " * 8
        lines.append(label + "".join(_BLOCKS[min(max(level - 8 * row, 0), 8)] for level in eighths))
    return lines


class _Run:
    """A run's model, optimizer, data and counters between steps."""

    def __init__(
        self,
        recipe: Recipe,
        corpus: Corpus,
        tokenizer: DocumentTokenizer,
        cache: TokenCache,
        out: Path,
        device: torch.device,
    ):
        self.recipe, self.corpus, self.tokenizer, self.cache = recipe, corpus, tokenizer, cache
        self.out, self.device = out, device
        training, held_out = split_documents(cache, recipe.data.validation)
        if not len(training):
            raise TrainError("data.validation holds out every document; lower it")
        self.rows = PackedRows(cache, recipe.data.length, recipe.data.seed, recipe.mask, training)
        self.held_out = PackedRows(cache, recipe.data.length, 0, None, held_out) if len(held_out) else None
        self.model = _build_model(recipe, tokenizer).to(device)
        self.forward = torch.compile(self.model) if recipe.training.compile else self.model
        self.optimizer = _build_optimizer(recipe, self.model)
        self.schedule = WarmupStableDecay(
            recipe.optimizer.learning_rate,
            recipe.training.steps,
            recipe.schedule.warmup,
            recipe.schedule.cooldown,
            recipe.schedule.initial,
            recipe.schedule.final,
        )
        self.step = self.position = self.supervised = self.dropped = 0
        self.resumed_from = 0
        self.speeds: list[float] = []
        self.metrics = out / "metrics.jsonl"

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up the run where the checkpoint left it."""
        state = checkpoint.load_state(self.device)
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["random"].cpu())
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise TrainError(f"{checkpoint.folder}: does not fit this model ({reason}); {_START_ANEW}") from error
        provenance = checkpoint.provenance
        self.step, self.position = provenance.step, provenance.position
        self.supervised, self.dropped = provenance.supervised, provenance.dropped
        self.resumed_from = provenance.step

    def train_to_the_end(self, console: Console) -> None:
        """Take the steps that are left; save checkpoints and metrics on the way."""
        total, every = self.recipe.training.steps, self.recipe.checkpoint.every
        lines = _metric_lines(self.metrics, self.step)
        if len(lines) != self.step:
            raise TrainError(
                f"{self.metrics}: holds {len(lines)} steps, the checkpoint is of step {self.step}; put the file back, "
                "or --restart to begin anew"
            )
        publish_text(self.metrics, "".join(line + "\n" for line in lines))
        report_every = max(1, total // 10)
        with self.metrics.open("a", encoding="utf-8") as file, _progress(console) as progress:
            task = progress.add_task("train", total=total, completed=self.step, loss="", speed="")
            while self.step < total:
                metrics = self._take_step(file)
                loss, speed = f"loss {metrics['loss']:.3f}", f"{metrics['tokens_per_second']:,.0f} tokens/s"
                progress.update(task, completed=self.step, loss=loss, speed=speed)
                if not console.is_terminal and (self.step % report_every == 0 or self.step == total):
                    console.print(f"step {self.step:>6} of {total}  {loss}  {speed}", highlight=False)
                if self.step % every == 0 or self.step == total:
                    os.fsync(file.fileno())  # no checkpoint without the metrics of its steps
                    self._save()

    def summarize(self) -> Summary:
        """Evaluate, export, let the model write a line, and record it all."""
        export = self.out / "export" / f"step-{self.step:08d}"
        if not export.exists():
            export_transformers(
                self.model,
                export,
                begin=self.tokenizer.begin,
                end=self.tokenizer.end,
                padding=self.tokenizer.padding,
                context=self.recipe.data.length,
                tokenizer=self.tokenizer.path.read_text(encoding="utf-8"),
            )
        losses = [json.loads(line)["loss"] for line in _metric_lines(self.metrics, self.step)]
        summary = Summary(
            steps=self.step,
            resumed_from=self.resumed_from,
            parameters=self.parameters,
            first_loss=losses[0],
            last_loss=losses[-1],
            validation_loss=self._evaluate(),
            losses=losses,
            supervised=self.supervised,
            dropped=self.dropped,
            tokens_per_second=sorted(self.speeds)[len(self.speeds) // 2] if self.speeds else None,
            corpus_root=self.corpus.root,
            sample=self._write_sample(),
            checkpoint=str(self.out / "checkpoints" / f"step-{self.step:08d}"),
            export=str(export),
            metrics=str(self.metrics),
        )
        publish_text(self.out / "summary.json", json.dumps(asdict(summary), indent=2, ensure_ascii=False) + "\n")
        return summary

    def _take_step(self, file: TextIO) -> dict[str, Any]:
        started = time.perf_counter()
        learning_rate = self.schedule.learning_rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        batch = self.rows.batch(self.position, self.recipe.training.rows)
        self.model.train()
        loss = torch.zeros((), device=self.device)
        for part in _micro_batches(batch, self.recipe.training.micro_rows, self.device):
            part_loss = self._loss_sum(*part) / max(batch.supervised, 1)
            part_loss.backward()
            loss += part_loss.detach()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.optimizer.clip)
        value, norm_value = float(loss), float(norm)
        if not (math.isfinite(value) and math.isfinite(norm_value)):
            names = ", ".join(self.cache.name_documents(batch.table_rows)[:20])
            raise TrainError(
                f"step {self.step + 1}: loss {value}, gradient norm {norm_value}; documents in this batch: {names}; "
                "lower optimizer.learning_rate and resume from the last checkpoint, or look at these documents"
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.position += self.recipe.training.rows
        self.supervised += batch.supervised
        self.dropped += batch.dropped
        seconds = time.perf_counter() - started
        self.speeds.append(batch.inputs_BT.numel() / seconds)
        metrics = {
            "step": self.step,
            "loss": value,
            "learning_rate": learning_rate,
            "gradient_norm": norm_value,
            "supervised": batch.supervised,
            "dropped": batch.dropped,
            "position": self.position,
            "tokens_per_second": round(self.speeds[-1], 1),
        }
        file.write(json.dumps(metrics) + "\n")
        file.flush()
        return metrics

    def _loss_sum(
        self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor, documents_BT: torch.Tensor, positions_BT: torch.Tensor
    ) -> torch.Tensor:
        low_precision = self.recipe.training.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16) if low_precision else nullcontext():
            logits_BTV = self.forward(inputs_BT, documents_BT, positions_BT)
        return F.cross_entropy(
            logits_BTV.float().flatten(0, 1), targets_BT.flatten(), ignore_index=IGNORED, reduction="sum"
        )

    @torch.no_grad()
    def _evaluate(self) -> float | None:
        """Mean loss on the held-out documents, without mask."""
        if self.held_out is None:
            return None
        rows = min(self.held_out.epoch_rows, self.recipe.data.validation_rows)
        self.model.eval()
        loss, targets = 0.0, 0
        for start in range(0, rows, self.recipe.training.rows):
            batch = self.held_out.batch(start, min(self.recipe.training.rows, rows - start))
            for part in _micro_batches(batch, self.recipe.training.micro_rows, self.device):
                loss += float(self._loss_sum(*part))
            targets += batch.supervised
        return loss / max(targets, 1)

    def _write_sample(self) -> str:
        settings = self.recipe.sample
        self.model.eval()
        tokens = self.model.generate(
            [self.tokenizer.begin],
            tokens=min(settings.tokens, self.recipe.data.length),
            stop=self.tokenizer.end,
            temperature=settings.temperature,
            generator=torch.Generator().manual_seed(settings.seed),
        )
        return self.tokenizer.decode(tokens)

    def _save(self) -> None:
        provenance = Provenance(
            step=self.step,
            position=self.position,
            corpus_version=self.corpus.version,
            corpus_root=self.corpus.root,
            tokenizer_sha256=self.tokenizer.digest,
            recipe=self.recipe.model_dump(mode="json"),
            recipe_digest=self.recipe.digest,
            supervised=self.supervised,
            dropped=self.dropped,
            torch=torch.__version__,
        )
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        save_checkpoint(self.out / "checkpoints", provenance, state, self.recipe.checkpoint.keep)


_START_ANEW = "use another --out, or --restart to begin anew in this one"


def _prepare_device(recipe: Recipe) -> torch.device:
    wanted = recipe.training.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise TrainError("training.device is cuda, but torch finds no GPU; use --set training.device=cpu")
    if recipe.training.threads:
        torch.set_num_threads(recipe.training.threads)
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


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
    for name in ("checkpoints", "export"):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in ("metrics.jsonl", "summary.json"):
        (out / name).unlink(missing_ok=True)


def _check_resumable(checkpoint: Checkpoint, recipe: Recipe, corpus: Corpus) -> None:
    provenance = checkpoint.provenance
    if provenance.corpus_root != corpus.root:
        raise TrainError(
            f"{checkpoint.folder}: trained on corpus root {provenance.corpus_root[:16]}…, but {corpus.path} is now at "
            f"{corpus.root[:16]}… (version {corpus.version}), where documents may be withdrawn; {_START_ANEW}"
        )
    try:
        before = Recipe.model_validate(provenance.recipe)
    except ValueError as error:
        raise TrainError(
            f"{checkpoint.folder}: its recipe is of another version of fairtrove; {_START_ANEW}"
        ) from error
    changed = [key for key in recipe.differences(before) if not key.startswith(PROLONGABLE)]
    if changed:
        raise TrainError(f"{checkpoint.folder}: the recipe has changed since ({', '.join(changed)}); {_START_ANEW}")
    if provenance.step > recipe.training.steps:
        raise TrainError(f"{checkpoint.folder}: already past training.steps {recipe.training.steps}; {_START_ANEW}")


def _open_tokenizer(recipe: Recipe, recipe_file: Path, corpus: Corpus, folder: Path) -> DocumentTokenizer:
    settings = recipe.tokenizer
    if settings.path is not None:
        return load_tokenizer(recipe_file.parent / settings.path, settings.begin, settings.end)
    prefix = f"tokenizer-{corpus.root[:16]}-"
    for other in folder.glob("tokenizer-*.json"):
        if not other.name.startswith(prefix):
            other.unlink()  # learned from a corpus of which something may be withdrawn since
    path = folder / f"{prefix}{settings.vocab_size}-{settings.train_bytes}.json"
    if path.exists():
        return load_tokenizer(path)
    return train_tokenizer(read_texts(corpus, settings.train_bytes), settings.vocab_size, path)


def _build_model(recipe: Recipe, tokenizer: DocumentTokenizer) -> Apertus:
    model = Apertus(
        ModelShape(
            vocab_size=tokenizer.vocab_size,
            layers=recipe.model.layers,
            dim=recipe.model.dim,
            ffn=recipe.model.ffn,
            heads=recipe.model.heads,
            kv_heads=recipe.model.kv_heads,
            rope_theta=recipe.model.rope_theta,
            init_std=recipe.model.init_std,
        )
    )
    model.initialize(torch.Generator().manual_seed(recipe.training.seed))
    return model


def _build_optimizer(recipe: Recipe, model: Apertus) -> torch.optim.Optimizer:
    settings = recipe.optimizer
    groups = parameter_groups(model, settings.weight_decay)
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, eps=settings.eps, fused=True)
    return AdEMAMix(
        groups,
        lr=settings.learning_rate,
        betas=(*settings.betas, settings.beta3),
        alpha=settings.alpha,
        warmup=settings.slow_warmup,
        eps=settings.eps,
    )


def _micro_batches(batch: Batch, rows: int | None, device: torch.device) -> list[tuple[torch.Tensor, ...]]:
    tensors = (batch.inputs_BT, batch.targets_BT, batch.documents_BT, batch.positions_BT)
    parts = zip(*(tensor.to(device).split(rows or len(tensor)) for tensor in tensors), strict=True)
    return list(parts)


def _metric_lines(path: Path, step: int) -> list[str]:
    """Lines of steps 1 to `step`; what a killed run wrote after its last checkpoint is computed again."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] > step:
                break
        except (ValueError, KeyError, TypeError):
            break
        lines.append(line)
    return lines


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
    recipe: Annotated[str, typer.Argument(help="Recipe file, or the name of a shipped one (tiny).")],
    corpus: Annotated[Path, typer.Option(help="Folder of a curated corpus.")],
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
