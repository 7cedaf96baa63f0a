"""A run between its first step and its last: model, optimizer, data and counters, and how a step is taken.

The loss of a step is the sum over its kept targets divided by their number in the whole step, over all micro-batches
and workers: a Goldfish mask leaves a different number of targets in each.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manifests.corpus import Corpus
from train.checkpoint import Checkpoint, CheckpointWriter, Provenance
from train.data import Batch, PackedRows, Rows, share
from train.distributed import World, spread, whole, without_sync
from train.errors import TrainError
from train.export import export_transformers
from train.loader import Prefetcher
from train.metrics import MetricsFile
from train.mixture import MixedRows, Stage
from train.model import Apertus, ModelShape, assign
from train.optim import AdEMAMix, parameter_groups
from train.recipe import Recipe
from train.schedule import WarmupStableDecay
from train.speed import peak_flops, utilisation
from train.tokenizer import DocumentTokenizer
from train.tokens import DocumentTable, TokenCache, split_documents

START_ANEW = "use another --out, or --restart to begin anew in this one"


@dataclass(frozen=True)
class Inputs:
    """What a run is made of.

    Attributes:
        recipe: how.
        corpus: on what.
        tokenizer: in which ids.
        cache: the corpus in them.
        out: folder of the run.
    """

    recipe: Recipe
    corpus: Corpus
    tokenizer: DocumentTokenizer
    cache: TokenCache
    out: Path


class Run:
    """The state of a run on this worker."""

    def __init__(self, inputs: Inputs, world: World):
        self.inputs, self.world = inputs, world
        recipe, cache = inputs.recipe, inputs.cache
        training, held_out = split_documents(cache, recipe.data.validation)
        self.rows = training_rows(recipe, cache, training)
        self.held_out = PackedRows(cache, recipe.data.length, 0, None, held_out) if len(held_out) else None
        self.batch_size = recipe.training.batch_size
        _check_shares(recipe, world)
        sharded = recipe.training.parallel == "fsdp" and world.ranks > 1
        with torch.device("meta" if sharded else world.device):
            self.model = Apertus(model_shape(recipe, inputs.tokenizer), recipe.training.recompute)
        low_precision = recipe.training.precision == "bfloat16"
        module = spread(self.model, list(self.model.layers), recipe.training.parallel, world, low_precision)
        if sharded:
            self.model.to_empty(device=world.device)
        self.model.initialize(recipe.training.seed)
        self.module = module
        self.forward = torch.compile(module) if recipe.training.compile else module
        self.optimizer = _build_optimizer(recipe, self.model)
        self.schedule = WarmupStableDecay(
            recipe.optimizer.learning_rate,
            recipe.training.steps,
            recipe.schedule.warmup,
            recipe.schedule.cooldown,
            recipe.schedule.initial,
            recipe.schedule.final,
        )
        self.checkpoints = CheckpointWriter(inputs.out / "checkpoints", recipe.checkpoint.keep, world, sharded)
        self.step = self.position = self.supervised = self.dropped = 0
        self.resumed_from = 0
        self.corpora: list[dict[str, Any]] = []
        self._note_corpus()
        self.speeds: list[float] = []
        self.waits: list[float] = []
        self._peak = peak_flops(world.device)

    @property
    def parameters(self) -> int:
        """Of the whole model."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up the run where the checkpoint left it.

        Raises:
            TrainError: it is damaged, or of another model.
        """
        self.world.on_first(checkpoint.verify)
        state = checkpoint.load_state()
        try:
            if checkpoint.sharded:
                self._make_optimizer_state(state["names"])
                checkpoint.load_shards(self._tensors())
            else:
                self._make_optimizer_state([(name, list(value.shape)) for name, value in state["tensors"].items()])
                ours = self._tensors()
                if ours.keys() != state["tensors"].keys():
                    raise ValueError("it has other parameters")
                with torch.no_grad():
                    for name, tensor in ours.items():
                        if tensor.shape != state["tensors"][name].shape:
                            raise ValueError(f"{name} has another shape")
                        assign(tensor, state["tensors"][name])
            for group, values in zip(self.optimizer.param_groups, state["groups"], strict=True):
                group.update(values)
            torch.set_rng_state(state["random"])
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise TrainError(f"{checkpoint.folder}: does not fit this model ({reason}); {START_ANEW}") from error
        provenance = checkpoint.provenance
        self.step, self.position = provenance.step, provenance.position
        self.supervised, self.dropped = provenance.supervised, provenance.dropped
        self.resumed_from = provenance.step
        self.corpora = provenance.corpora
        self._note_corpus()

    def batches(self) -> Prefetcher[Batch]:
        """This worker's batches of the steps that are left, computed ahead."""

        def make(step: int) -> Batch:
            count = self.batch_size.rows_at(step)
            position = self.batch_size.position_at(step)
            return share(self.rows, position, count, self.world.rank, self.world.ranks)

        return Prefetcher(make, self.step, self.inputs.recipe.training.steps)

    def take_step(self, batches: Prefetcher[Batch]) -> dict[str, Any]:
        """Forward, backward, update; returns the step's metrics.

        Raises:
            TrainError: the loss or the gradient is no number; names the documents of the batch.
        """
        started = time.perf_counter()
        batch = batches.take()
        waited = time.perf_counter() - started
        learning_rate = self.schedule.learning_rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        supervised, dropped = (int(value) for value in self.world.add([batch.supervised, batch.dropped]))
        self.model.train()
        loss = torch.zeros((), device=self.world.device)
        parts = _micro_batches(batch, self.inputs.recipe.training.micro_rows, self.world.device)
        for number, part in enumerate(parts):
            with nullcontext() if number + 1 == len(parts) else without_sync(self.module):
                # workers average their gradients, but the loss is a mean over the targets of all
                part_loss = self.loss_sum(*part) * (self.world.ranks / max(supervised, 1))
                part_loss.backward()
            loss += part_loss.detach()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.inputs.recipe.optimizer.clip)
        (value,) = self.world.add([float(loss) / self.world.ranks])
        norm_value = float(whole(norm))
        if not (math.isfinite(value) and math.isfinite(norm_value)):
            self._refuse(batch, value, norm_value)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.position += self.batch_size.rows_at(self.step)
        self.step += 1
        self.supervised += supervised
        self.dropped += dropped
        seconds = time.perf_counter() - started
        tokens = batch.inputs_BT.numel() * self.world.ranks
        self.speeds.append(tokens / seconds)
        self.waits.append(waited / seconds)
        metrics = {
            "step": self.step,
            "loss": value,
            "learning_rate": learning_rate,
            "gradient_norm": norm_value,
            "supervised": supervised,
            "dropped": dropped,
            "drop_rate": dropped / max(supervised + dropped, 1),
            "position": self.position,
            "tokens_per_second": round(self.speeds[-1], 1),
            "wait": round(self.waits[-1], 5),
        }
        if self._peak:
            length = self.inputs.recipe.data.length
            used = utilisation(self.model.shape, length, self.speeds[-1], self.world.ranks, self._peak)
            metrics["mfu"] = round(used, 4)
        return metrics

    def loss_sum(self, inputs_BT: Tensor, documents_BT: Tensor, positions_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Sum of the loss over the targets that are not ignored."""
        low_precision = self.inputs.recipe.training.precision == "bfloat16"
        with torch.autocast(self.world.device.type, torch.bfloat16) if low_precision else nullcontext():
            return self.forward(inputs_BT, documents_BT, positions_BT, targets_BT)

    @torch.no_grad()
    def evaluate(self) -> float | None:
        """Mean loss on the held-out documents, without mask; None when there are none. Every worker computes it."""
        if self.held_out is None:
            return None
        rows = min(self.held_out.epoch_rows, self.inputs.recipe.data.validation_rows)
        at_once = self.inputs.recipe.training.micro_rows or self.inputs.recipe.training.rows // self.world.ranks
        self.model.eval()
        loss, targets = 0.0, 0
        for start in range(0, rows, at_once):
            batch = self.held_out.batch(start, min(at_once, rows - start))
            for part in _micro_batches(batch, None, self.world.device):
                loss += float(self.loss_sum(*part))
            targets += batch.supervised
        return loss / max(targets, 1)

    def write_sample(self) -> str:
        """Text that the model makes of nothing. Every worker computes it."""
        settings, tokenizer = self.inputs.recipe.sample, self.inputs.tokenizer
        self.model.eval()
        tokens = self.model.generate(
            [tokenizer.begin],
            tokens=min(settings.tokens, self.inputs.recipe.data.length),
            stop=tokenizer.end,
            temperature=settings.temperature,
            generator=torch.Generator().manual_seed(settings.seed),
        )
        return tokenizer.decode(tokens)

    def export(self, folder: Path) -> None:
        """Publish the weights for `transformers`, if they are not there."""
        weights = {name: whole(value) for name, value in self.model.state_dict().items()}
        if not self.world.first or folder.exists():
            return
        tokenizer = self.inputs.tokenizer
        export_transformers(
            self.model.shape,
            weights,
            folder,
            begin=tokenizer.begin,
            end=tokenizer.end,
            padding=tokenizer.padding,
            context=self.inputs.recipe.data.length,
            tokenizer=tokenizer.path.read_text(encoding="utf-8"),
        )

    def save(self, metrics: MetricsFile | None) -> None:
        """Begin to publish a checkpoint; the metrics of its steps come first."""
        if metrics is not None:
            metrics.sync()
        corpus, recipe = self.inputs.corpus, self.inputs.recipe
        provenance = Provenance(
            step=self.step,
            position=self.position,
            corpus_version=corpus.version,
            corpus_root=corpus.root,
            corpora=[dict(corpus) for corpus in self.corpora],
            tokenizer_sha256=self.inputs.tokenizer.digest,
            recipe=recipe.model_dump(mode="json"),
            recipe_digest=recipe.digest,
            supervised=self.supervised,
            dropped=self.dropped,
            ranks=self.world.ranks,
            torch=torch.__version__,
        )
        tensors = self._tensors()
        state = {
            "names": [(name, list(tensor.shape)) for name, tensor in tensors.items()],
            "groups": [
                {key: value for key, value in group.items() if key != "params"} for group in self.optimizer.param_groups
            ],
            "random": torch.get_rng_state(),
        }
        self.checkpoints.save(provenance, tensors, state)

    def _note_corpus(self) -> None:
        corpus = self.inputs.corpus
        if not self.corpora or self.corpora[-1]["root"] != corpus.root:
            self.corpora.append({"position": self.position, "version": corpus.version, "root": corpus.root})

    def _tensors(self) -> dict[str, Tensor]:
        """Weights and optimizer state by name."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in self.model.named_parameters():
            tensors[f"model.{name}"] = parameter
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{name}.{key}"] = value
        return tensors

    def _make_optimizer_state(self, names: list[tuple[str, list[int]]]) -> None:
        """Empty optimizer state for the names that a checkpoint has."""
        shapes = dict(names)
        for name, parameter in self.model.named_parameters():
            prefix = f"optimizer.{name}."
            for key in (other.removeprefix(prefix) for other in shapes if other.startswith(prefix)):
                like = parameter.detach() if shapes[prefix + key] else torch.zeros((), device=parameter.device)
                self.optimizer.state[parameter][key] = torch.zeros_like(like)

    def _refuse(self, batch: Batch, loss: float, norm: float) -> None:
        names = self.world.collect(self.inputs.cache.name_documents(batch.table_rows))
        shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        raise TrainError(
            f"step {self.step + 1}: loss {loss}, gradient norm {norm}; documents in this batch: {shown}; "
            "lower optimizer.learning_rate and resume from the last checkpoint, or look at these documents"
        )


def training_rows(
    recipe: Recipe, cache: TokenCache | DocumentTable, documents: np.ndarray[Any, np.dtype[np.int64]]
) -> Rows:
    """The rows that a recipe trains on: one stream of these documents, or a mixture of their sources.

    Raises:
        TrainError: there is none, or a stage names a source that the corpus has not.
    """
    if not len(documents):
        raise TrainError("data.validation holds out every document; lower it")
    data = recipe.data
    if not data.stages:
        return PackedRows(cache, data.length, data.seed, recipe.mask, documents)
    names, numbers = cache.sources
    sources = {}
    for place, name in enumerate(names):
        mine = documents[numbers[documents] == place]
        if len(mine) and any(stage.weights.get(name) for stage in data.stages):
            sources[name] = PackedRows(cache, data.length, data.seed, recipe.mask, mine)
    stages = [Stage(stage.name, stage.from_tokens // data.length, stage.weights) for stage in data.stages]
    return MixedRows(sources, stages, data.seed)


def model_shape(recipe: Recipe, tokenizer: DocumentTokenizer) -> ModelShape:
    """Size of the model: the recipe's, and the tokenizer's vocabulary."""
    return ModelShape(
        vocab_size=tokenizer.vocab_size,
        layers=recipe.model.layers,
        dim=recipe.model.dim,
        ffn=recipe.model.ffn,
        heads=recipe.model.heads,
        kv_heads=recipe.model.kv_heads,
        rope_theta=recipe.model.rope_theta,
        init_std=recipe.model.init_std,
    )


def _check_shares(recipe: Recipe, world: World) -> None:
    rows, micro = recipe.training.rows, recipe.training.micro_rows
    if rows % world.ranks:
        raise TrainError(f"training.rows {rows} cannot be shared by {world.ranks} workers; make it a multiple")
    if micro and rows // world.ranks % micro:
        raise TrainError(
            f"training.micro_rows {micro} does not divide the {rows // world.ranks} rows that each of {world.ranks} "
            "workers has of a step"
        )


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


def _micro_batches(batch: Batch, rows: int | None, device: torch.device) -> list[tuple[Tensor, ...]]:
    tensors = (batch.inputs_BT, batch.documents_BT, batch.positions_BT, batch.targets_BT)
    parts = zip(*(tensor.to(device).split(rows or len(tensor)) for tensor in tensors), strict=True)
    return list(parts)
