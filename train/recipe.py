"""The training recipe: TOML, checked key by key, with a digest that goes into every checkpoint.

A recipe is a file or the name of one that ships in `train/recipes/`. An unknown key is refused with the nearest valid
name, because a misspelt hyperparameter that is silently ignored costs a training run.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from train.errors import TrainError
from train.goldfish import Goldfish, Variant
from train.schedule import BatchSize

SHIPPED = Path(__file__).parent / "recipes"

PROLONGABLE = ("training.steps", "schedule.", "checkpoint.")
"""Keys that may differ between a checkpoint and the run that resumes it: they prolong or end a run, or save it."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class TokenizerSection(_Section):
    """Where token ids come from."""

    path: str | None = None
    """A `tokenizers` JSON file, relative to the recipe; without it a byte-level BPE is trained on the corpus."""
    vocab_size: int = Field(default=8192, ge=260)
    """Tokens of the trained one: 256 bytes and 4 special tokens at least. Not used with `path`."""
    train_bytes: int = Field(default=200_000_000, ge=1)
    """Bytes of text to train it on, drawn from all shards alike."""
    begin: str = "<s>"
    """Token before each document (BoD)."""
    end: str = "</s>"
    """Token after each document (EoD)."""


class StageSection(_Section):
    """A part of a curriculum."""

    name: str
    from_tokens: int = Field(default=0, ge=0)
    """Tokens of the run before it."""
    weights: dict[str, Annotated[float, Field(ge=0)]]
    """Share of each source of the corpus, in any unit."""


class DataSection(_Section):
    """How tokens become rows."""

    length: int = Field(ge=2)
    """Targets of a row."""
    seed: int = 0
    """Of the shuffle."""
    validation: float = Field(default=0.0, ge=0, lt=1)
    """Share of documents held out, by the hash of their key."""
    validation_rows: int = Field(default=64, ge=1)
    """Rows of the held-out documents to evaluate on, at most."""
    stages: tuple[StageSection, ...] = ()
    """Mixture of the corpus' sources, by stages; without it, every document comes once per epoch."""

    @model_validator(mode="after")
    def _ascends(self) -> DataSection:
        rows = [stage.from_tokens // self.length for stage in self.stages]
        if rows and (rows[0] != 0 or rows != sorted(set(rows))):
            starts = [stage.from_tokens for stage in self.stages]
            raise ValueError(
                f"stages must begin at 0 tokens and each a row or more later than the last, not at {starts}"
            )
        for stage in self.stages:
            if not any(weight > 0 for weight in stage.weights.values()):
                raise ValueError(f"stage {stage.name!r} needs a source with a weight above zero")
        return self


class GoldfishSection(_Section):
    """Which targets are left out of the loss: 50 and 50 in Apertus, k=4 and h=13 in the original paper."""

    variant: Variant = Variant.DEFAULT
    """`default` (per document, order-sensitive), `near-duplicate` (the same over normalised words, so that copies in
    other line breaks, spacing or case hide the same), `reference` (the published one, bit for bit) or `off`."""
    k: int = Field(default=50, ge=2)
    """One target in k is left out."""
    h: int = Field(default=50, ge=1)
    """Tokens, or words, whose hash decides, the decided one included."""


class ModelSection(_Section):
    """Size of the model; the vocabulary comes from the tokenizer."""

    layers: int = Field(ge=1)
    dim: int = Field(ge=2)
    ffn: int = Field(ge=1)
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    rope_theta: float = Field(default=500_000.0, gt=0)
    init_std: float = Field(default=0.008944, gt=0)
    """Standard deviation of the first weights; Apertus' value by default."""

    @model_validator(mode="after")
    def _divides(self) -> ModelSection:
        if self.dim % self.heads or (self.dim // self.heads) % 2:
            raise ValueError(f"dim {self.dim} must be an even multiple of heads {self.heads}")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} must be a multiple of kv_heads {self.kv_heads}")
        return self


class OptimizerSection(_Section):
    """How gradients become updates."""

    name: Literal["ademamix", "adamw"] = "ademamix"
    learning_rate: float = Field(gt=0)
    """Of the plateau."""
    betas: tuple[float, float] = (0.9, 0.999)
    beta3: float = Field(default=0.9999, gt=0, lt=1)
    """AdEMAMix: decay of the slow average."""
    alpha: float = Field(default=8.0, ge=0)
    """AdEMAMix: weight of the slow average."""
    slow_warmup: int = Field(default=0, ge=0)
    """AdEMAMix: steps over which alpha and beta3 grow."""
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    clip: float = Field(default=0.1, gt=0)
    """Largest norm of the gradient; Apertus' value by default."""


class ScheduleSection(_Section):
    """Warm up, stay, decay; in steps."""

    warmup: int = Field(default=0, ge=0)
    cooldown: int = Field(default=0, ge=0)
    initial: float = Field(default=0.1, ge=0, le=1)
    """Learning rate of the first step, as a share of the plateau."""
    final: float = Field(default=0.1, ge=0, le=1)
    """Learning rate after the last step, as a share of the plateau."""


class TrainingSection(_Section):
    """The run."""

    steps: int = Field(ge=1)
    rows: int = Field(ge=1)
    """Rows of a step, over all workers."""
    double_rows_at: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Steps from which on a step has twice the rows."""
    micro_rows: int | None = Field(default=None, ge=1)
    """Rows that go through a worker's model at once; gradients of a step add up. None: all of the worker's."""
    seed: int = 0
    """Of the first weights."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: matrix products in bfloat16, weights and optimizer state in float32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU if there is one."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads; a fixed number gives the same bits on machines with other numbers of cores. None: torch's choice."""
    compile: bool = False
    """torch.compile: 1.5 to 3 times faster steps for a minute or two at the start; needs a C++ compiler."""
    recompute: bool = False
    """Activation checkpointing: a third more arithmetic for a fraction of the memory, and the same bits."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Under torchrun: `ddp` has the whole model on each worker, `fsdp` a part of each layer."""

    @model_validator(mode="after")
    def _divides(self) -> TrainingSection:
        if self.micro_rows and self.rows % self.micro_rows:
            raise ValueError(f"rows {self.rows} must be a multiple of micro_rows {self.micro_rows}")
        if list(self.double_rows_at) != sorted(set(self.double_rows_at)):
            raise ValueError(f"double_rows_at must ascend, not {list(self.double_rows_at)}")
        return self

    @property
    def batch_size(self) -> BatchSize:
        """Rows of each step."""
        return BatchSize(self.rows, self.double_rows_at)


class CheckpointSection(_Section):
    """When to save."""

    every: int = Field(default=100, ge=1)
    """Steps between checkpoints; the last step always makes one."""
    keep: int = Field(default=2, ge=1)
    """How many to keep; older ones are deleted."""


class SampleSection(_Section):
    """The text that a finished run shows."""

    tokens: int = Field(default=80, ge=1)
    temperature: float = Field(default=0.8, gt=0)
    seed: int = 0


class Recipe(_Section):
    """A whole recipe; see `recipes/tiny.toml` for one."""

    tokenizer: TokenizerSection = TokenizerSection()
    data: DataSection
    goldfish: GoldfishSection = GoldfishSection()
    model: ModelSection
    optimizer: OptimizerSection
    schedule: ScheduleSection = ScheduleSection()
    training: TrainingSection
    checkpoint: CheckpointSection = CheckpointSection()
    sample: SampleSection = SampleSection()

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.schedule.warmup + self.schedule.cooldown > self.training.steps:
            raise ValueError(
                f"schedule.warmup {self.schedule.warmup} and cooldown {self.schedule.cooldown}"
                f" are longer than training.steps {self.training.steps}"
            )
        return self

    @property
    def mask(self) -> Goldfish:
        """The Goldfish mask that the recipe asks for."""
        return Goldfish(self.goldfish.variant, self.goldfish.k, self.goldfish.h)

    @property
    def digest(self) -> str:
        """SHA-256 over all values, defaults included, hexadecimal; comments and order do not count."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()

    def differences(self, other: Recipe) -> list[str]:
        """Keys whose values differ, as `section.key`."""
        ours, theirs = self.model_dump(mode="json"), other.model_dump(mode="json")
        return [f"{s}.{k}" for s, keys in ours.items() for k in keys if keys[k] != theirs[s][k]]


def load_recipe(recipe: str | Path, overrides: Sequence[str] = ()) -> tuple[Recipe, Path]:
    """Read a recipe by path, or by the name of a shipped one, and put `section.key=value` overrides on it.

    Returns the recipe and its path (`tokenizer.path` is relative to it).

    Raises:
        TrainError: missing file, broken TOML, unknown key, wrong type or impossible combination, on one line.
    """
    path = Path(recipe)
    if not path.is_file() and (SHIPPED / f"{recipe}.toml").exists():
        path = SHIPPED / f"{recipe}.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        shipped = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.toml")))
        raise TrainError(f"recipe {recipe}: {error.strerror}; give a path, or one of: {shipped}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainError(f"recipe {path}: not valid TOML: {error}") from error
    for override in overrides:
        _override(content, override)
    try:
        return Recipe.model_validate(content), path
    except ValidationError as error:
        raise TrainError(f"recipe {path}: {'; '.join(_explain(error))}") from error


def _override(content: dict[str, Any], override: str) -> None:
    name, separator, value = override.partition("=")
    section, dot, key = name.strip().partition(".")
    if not separator or not dot or not key:
        raise TrainError(f"--set {override}: not of the form section.key=value")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()  # a bare word is a string
    keys = content.setdefault(section, {})
    if not isinstance(keys, dict):
        raise TrainError(f"--set {override}: {section} is not a section")
    keys[key] = parsed


def _explain(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        place = [str(part) for part in problem["loc"]]
        name = ".".join(place)
        if problem["type"] == "extra_forbidden":
            valid = _valid_names(place[:-1])
            near = difflib.get_close_matches(place[-1], valid, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"valid: {', '.join(valid)}"
            yield f"unknown key {name!r}, {hint}"
        elif problem["type"] == "missing":
            yield f"key {name!r} is missing"
        else:
            found = "" if isinstance(problem["input"], dict) else f", not {problem['input']!r}"
            yield f"{name + ': ' if name else ''}{problem['msg'].removeprefix('Value error, ')}{found}"


def _valid_names(sections: list[str]) -> list[str]:
    model: Any = Recipe
    for section in sections:
        if section.isdigit():
            continue  # a place in a list of sections
        annotation = model.model_fields[section].annotation
        model = next((part for part in (annotation, *get_args(annotation)) if _is_section(part)), None)
        if model is None:
            return []
    return list(model.model_fields)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, _Section)
