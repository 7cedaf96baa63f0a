"""From a policy to the list of steps: the one place that knows both recipes and filters."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from importlib.metadata import version
from typing import Any, Protocol

from filters.language import Language
from filters.license import License
from filters.pii import PII
from filters.robots import Robots, Snapshot, agent_list
from filters.stage import Recorder
from filters.toxicity import Toxicity
from manifests.schema import FORMAT
from pipeline.recipe import Policy, RecipeError, Source
from pipeline.stock import Recorded, load_stock
from pipeline.version import code_version


class RecordedStage(Protocol):
    """What a run needs of each step between reader and writer."""

    stage: str
    recorder: Recorder | None
    cpu_seconds: float
    run: Callable[..., Any]

    def fingerprint(self) -> dict[str, str]: ...


def build_stages(source: Source, policy: Policy) -> list[RecordedStage]:
    """The steps that a source's documents meet, in order. Constructors are cheap: models load at first use.

    Raises:
        RecipeError: a value that only the stage can judge is wrong; the message names its key.
    """
    builders: list[tuple[str, Any, Callable[[Any], RecordedStage]]] = [
        ("robots", policy.robots, _robots),
        ("license", policy.license, lambda table: License(table.policy, _license_kind(source), table.allow)),
        ("language", policy.language, lambda table: Language(**_values(table))),
        ("toxicity", policy.toxicity, lambda table: Toxicity(**_values(table))),
    ]
    steps = [_built(f"policy.{source.kind}.{key}", build, table) for key, table, build in builders if table]
    steps += _stock(policy, f"policy.{source.kind}.filters")
    if policy.pii:
        steps.append(_built(f"policy.{source.kind}.pii", lambda table: PII(**_values(table)), policy.pii))
    return steps


def _values(table: Any) -> dict[str, Any]:
    return {name: getattr(table, name) for name in type(table).model_fields}


def _license_kind(source: Source) -> str:
    """Prose of any kind carries its marks as a page does; only source files have headers."""
    return "code" if source.kind == "code" else "web"


def _robots(table: Any) -> RecordedStage:
    try:
        Snapshot.check(table.snapshot)
    except ValueError as error:
        raise ValueError(f"{error} (or --set policy.<kind>.robots.snapshot=…)") from error
    agents = agent_list(table.agents) if isinstance(table.agents, str) else table.agents
    return Robots(table.snapshot, agents, table.star, table.unknown, signals=table.signals, takedown=table.takedown)


def _built(key: str, build: Callable[[Any], RecordedStage], table: Any) -> RecordedStage:
    try:
        stage = build(table)
        stage.fingerprint()  # reads the digests of models and lists, so a missing file shows before any work
        check = getattr(stage, "check", None)
        if check:
            check()
        return stage
    except (ValueError, KeyError, OSError, ImportError) as error:
        raise RecipeError(f"{key}: {_message(error)}") from error


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def _stock(policy: Policy, key: str) -> list[Recorded]:
    steps = [load_stock(setting, f"{key}.{number}") for number, setting in enumerate(policy.filters or [])]
    for position, step in enumerate(steps):
        same = sum(other.name == step.name for other in steps[:position])
        if same:
            step.stage += f"#{same + 1}"
    return steps


def fingerprint(source: Source, stages: Sequence[RecordedStage], output: dict[str, Any], limit: int | None) -> str:
    """Digest of everything but input and snapshots that decides what a source's tasks write.

    Covers format, code, how the file is read, each stage's own fingerprint and how shards are cut; no path.
    """
    parts = {
        "format": FORMAT,
        "code": code_version(),
        "source": source.model_dump(mode="json", exclude={"path", "policy", "revision"}),
        "stages": [[stage.stage, stage.fingerprint()] for stage in stages],
        "output": output,
        "limit": limit,
        "libraries": {name: version(name) for name in ("pyarrow", *(["trafilatura"] if _reads_warc(source) else []))},
    }
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _reads_warc(source: Source) -> bool:
    """Whether trafilatura's version is part of the texts."""
    return source.reader == "warc" or (source.reader is None and any(".warc" in path for path in source.paths))


def pins(stages: Sequence[RecordedStage]) -> dict[str, str]:
    """Digests of the snapshots that the stages consult."""
    return {
        f"{stage.stage}.{name}": digest
        for stage in stages
        for name, digest in sorted(getattr(stage, "pins", dict)().items())
    }
