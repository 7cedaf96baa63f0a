"""The run: decide which tasks are current, run the others, publish the version.

A corpus folder always has at most one version in the making, the number after the newest published one. A task is
current when its record carries the digest of this recipe and code, of this input, and of what the snapshots say about
its own hosts. Current tasks of the published version are carried over by link; so a changed policy re-runs the sources
it governs, a newer snapshot the files whose hosts changed their mind, and an unchanged recipe nothing at all.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from manifests.corpus import Corpus, open_corpus, version_folder
from manifests.files import file_sha256, write_json
from manifests.publish import (
    adopt_task,
    publish_version,
    published_shards,
    read_task_record,
    sweep,
    working_version,
)
from manifests.schema import restore_host
from pipeline.alarm import BATCH_SECONDS
from pipeline.clusters import Engine, expect_idle, run_on
from pipeline.executors import OnStep, Outcome, run_jobs
from pipeline.folder import clean_version, locked
from pipeline.inputs import InputFile, list_files
from pipeline.readers import reader_of
from pipeline.recipe import Recipe, RecipeError
from pipeline.stages import build_stages, code_version, fingerprint, pins
from pipeline.task import Job, evidence_digests, stages_for


@dataclass(frozen=True)
class Plan:
    """A checked recipe with its work list: everything exists that can be checked without running."""

    recipe: Recipe
    files: list[InputFile]
    fingerprints: dict[str, str]
    pins: dict[str, dict[str, str]]
    limit: int | None

    @property
    def unguarded(self) -> list[str]:
        """Sources on which no stage runs: their rows are kept as they are."""
        return [name for name in self.recipe.source if not self.recipe.policy_for(name).stages]

    @property
    def all_pins(self) -> dict[str, str]:
        """Digests of every snapshot that the run consults, by source, stage and name."""
        return {f"{source}.{name}": digest for source, found in self.pins.items() for name, digest in found.items()}


@dataclass
class RunResult:
    """What a run did.

    Attributes:
        corpus: the published version, None if it could not be published.
        ran, adopted, resumed: tasks that ran now, came over from the published version, or were finished by an
            earlier, interrupted run.
        failed: outcome of each failed task.
        unchanged: True when the published version is already what the recipe asks for.
    """

    corpus: Corpus | None
    ran: list[str] = field(default_factory=list)
    adopted: list[str] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)
    failed: list[Outcome] = field(default_factory=list)
    unchanged: bool = False


def make_plan(recipe: Recipe, limit: int | None = None) -> Plan:
    """Check everything a run needs and list its input files; reads no text and writes nothing.

    Raises:
        RecipeError: a path, snapshot, model or value of the recipe is wrong; names the key.
        SourceError: a file system cannot be reached.
    """
    files: list[InputFile] = []
    fingerprints: dict[str, str] = {}
    pinned: dict[str, dict[str, str]] = {}
    for name, source in recipe.source.items():
        stages = build_stages(source, recipe.policy_for(name))
        listed = list_files(name, source)
        for file in listed:
            reader_of(file, source)
        files += listed
        fingerprints[name] = fingerprint(source, stages, recipe.output.model_dump(mode="json"), limit)
        pinned[name] = pins(stages)
    tasks: dict[str, InputFile] = {}
    for file in files:
        other = tasks.setdefault(file.task, file)
        if other is not file:
            raise RecipeError(
                f"source.{file.source}: {file.location} and {other.location} of source.{other.source} would both be "
                f"task {file.task}; rename one source"
            )
    return Plan(recipe, files, fingerprints, pinned, limit)


def curate(
    plan: Plan,
    out: Path,
    workers: int = 1,
    on_start: Any = None,
    on_step: OnStep | None = None,
    on_end: Any = None,
    keep_old: bool = False,
    skip_failed: bool = False,
    engine: Engine = Engine.LOCAL,
    cluster: Mapping[str, str] | None = None,
    batch_timeout: float = BATCH_SECONDS,
) -> RunResult:
    """Bring the corpus at `out` to what the plan asks for.

    Args:
        workers: processes; 1 runs in this one.
        on_start: called with (jobs to run, tasks that are current) before the first job.
        on_step: called with each task's progress.
        on_end: called with each outcome.
        keep_old: leave the shards of the version that this one replaces.
        skip_failed: publish without the tasks that failed; they are listed in `run.json`.
        engine: where tasks run; on a cluster `out` must be a folder that all its machines see.
        cluster: settings of the engine; see `pipeline.clusters.SETTINGS`.
        batch_timeout: seconds that a stage may take for one batch of documents; 0 for ever.

    Raises:
        RunError: another run holds the folder, or it is not one that fairtrove made.
    """
    out = out.resolve()
    with locked(out):
        expect_idle(out / "logs" / "engine")
        run = partial(_run_jobs, out=out, workers=workers, on_step=on_step, engine=engine, cluster=cluster)
        return _curate(plan, out, run, on_start, on_end, keep_old, skip_failed, batch_timeout)


def _run_jobs(
    jobs: Sequence[Job],
    out: Path,
    workers: int,
    on_step: OnStep | None,
    engine: Engine,
    cluster: Mapping[str, str] | None,
) -> Iterator[Outcome]:
    if engine is Engine.LOCAL:
        return run_jobs(jobs, workers, on_step)
    return run_on(engine, jobs, workers, out / "logs" / "engine", cluster)


def _curate(
    plan: Plan,
    out: Path,
    run: Callable[[Sequence[Job]], Iterator[Outcome]],
    on_start: Any,
    on_end: Any,
    keep_old: bool,
    skip_failed: bool,
    batch_timeout: float,
) -> RunResult:
    parent, version = working_version(out)
    staging = out / ".staging"
    shutil.rmtree(staging, ignore_errors=True)
    digests = _InputDigests(out / "logs" / "inputs.json")
    result = RunResult(None)
    pending: list[InputFile] = []
    adopted: list[str] = []
    for file in plan.files:
        if _is_current(plan, out, version, file, digests):
            result.resumed.append(file.task)
        elif parent is not None and _is_current(plan, out, parent, file, digests):
            adopted.append(file.task)
        else:
            pending.append(file)
    tasks = [file.task for file in plan.files]
    if parent is not None and len(adopted) == len(tasks) and _describes(open_corpus(out), plan, tasks):
        clean_version(out, version, [])
        result.corpus, result.adopted, result.unchanged = open_corpus(out), adopted, True
        return result
    clean_version(out, version, result.resumed)
    for task in adopted:
        adopt_task(out, parent or 0, version, task)
    result.adopted = adopted
    jobs = [_job(plan, out, version, staging, file, batch_timeout) for file in pending]
    if on_start:
        on_start(jobs, result.resumed + adopted)
    costs = _Costs(out / "logs" / "tasks")
    for outcome in run(jobs):
        if outcome.report:
            digests.remember(outcome.job.file, outcome.report.input_sha256)
            costs.note(outcome)
            result.ran.append(outcome.job.file.task)
        else:
            result.failed.append(outcome)
            _log_failure(out, outcome)
        if on_end:
            on_end(outcome)
    shutil.rmtree(staging, ignore_errors=True)
    failed = {outcome.job.file.task: outcome.error for outcome in result.failed}
    if failed and not (skip_failed and len(failed) < len(tasks)):
        return result
    publish_version(
        out,
        version,
        parent,
        [task for task in tasks if task not in failed],
        _run_description(plan)
        | ({"failed": failed} if failed else {})
        | ({"keeps_parent": True} if keep_old and parent is not None else {}),
    )
    sweep(out, published_shards(out))
    costs.summarize(tasks, out / "logs" / "costs.json")
    result.corpus = open_corpus(out)
    return result


def _job(plan: Plan, out: Path, version: int, staging: Path, file: InputFile, batch_timeout: float) -> Job:
    return Job(
        corpus=out,
        version=version,
        staging=staging,
        file=file,
        source=plan.recipe.source[file.source],
        policy=plan.recipe.policy_for(file.source),
        output=plan.recipe.output,
        fingerprint=plan.fingerprints[file.source],
        pins=plan.pins[file.source],
        limit=plan.limit,
        batch_timeout=batch_timeout,
    )


def _run_description(plan: Plan) -> dict[str, Any]:
    """What `run.json` says of how the version was made; nothing of when or where."""
    policies = {
        name: _plain(plan.recipe.policy_for(name).model_dump(mode="json", exclude_none=True))
        for name in plan.recipe.source
    }
    return {
        "recipe": {"name": plan.recipe.name, "digest": plan.recipe.digest, "policy": policies},
        "code": code_version(),
        "pins": plan.all_pins,
    }


def _plain(value: Any) -> Any:
    """Policy values for the record: file names instead of paths, and no secret."""
    if isinstance(value, dict):
        return {
            key: "(secret)" if key == "key" else Path(item).name if key in _FILES and item else _plain(item)
            for key, item in value.items()
        }
    return value


_FILES = ("snapshot", "takedown", "model", "heads", "encoder", "calibration")


def _describes(corpus: Corpus, plan: Plan, tasks: Sequence[str]) -> bool:
    run = corpus.run
    said = {key: run.get(key) for key in ("recipe", "code", "pins")}
    return said == _run_description(plan) and sorted(tasks) == [task["name"] for task in run["tasks"]]


# -- what is current


def _is_current(plan: Plan, out: Path, version: int, file: InputFile, digests: _InputDigests) -> bool:
    record = read_task_record(out, version, file.task)
    if record is None or record.get("fingerprint") != plan.fingerprints[file.source]:
        return False
    if record["input"]["sha256"] != digests.of(file):
        return False
    if record.get("unrestored"):  # a retraction found documents whose owners allow them again: only a re-run has them
        return False
    folder = version_folder(out, version)
    files = {out / shard["name"]: shard["bytes"] for shard in record["shards"]}
    files |= {folder / name / f"{file.task}.parquet": table["bytes"] for name, table in record["tables"].items()}
    if not all(path.is_file() and path.stat().st_size == size for path, size in files.items()):
        return False
    return _same_evidence(plan, out, version, file, record)


def _same_evidence(plan: Plan, out: Path, version: int, file: InputFile, record: dict[str, Any]) -> bool:
    """Whether the snapshots say of this task's hosts what they said when it ran."""
    if not record["evidence"]:
        return True
    run = version_folder(out, version) / "run.json"
    with contextlib.suppress(OSError, ValueError, KeyError):
        if json.loads(run.read_bytes())["pins"] == plan.all_pins:
            return True
    name = file.source
    stages = stages_for(
        plan.recipe.source[name], plan.recipe.policy_for(name), plan.fingerprints[name], plan.pins[name]
    )
    return evidence_digests(stages, _recorded_hosts(version_folder(out, version), file.task)) == record["evidence"]


def _recorded_hosts(folder: Path, task: str) -> list[tuple[str, int | None]]:
    tables = [str(folder / name / f"{task}.parquet") for name in ("kept", "decisions")]
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT DISTINCT rhost FROM read_parquet(?, union_by_name = true) WHERE rhost IS NOT NULL", [tables]
        ).fetchall()
    return sorted((restore_host(rhost) for (rhost,) in rows), key=lambda host: (host[0], host[1] or 0))


class _InputDigests:
    """Digests of input files by place, size and modification, so that an unchanged file is not read again to know it.

    A cache beside the corpus: lost, it costs one reading of each local file (a remote file counts as changed).
    """

    def __init__(self, path: Path):
        self._path = path
        try:
            self._known: dict[str, list[Any]] = json.loads(path.read_bytes())
        except (OSError, ValueError):
            self._known = {}

    def of(self, file: InputFile) -> str | None:
        known = self._known.get(file.location)
        if known and known[:2] == [file.bytes, file.version]:
            return known[2]
        if "://" in file.location:
            return None
        with contextlib.suppress(OSError):
            digest = file_sha256(file.location)
            self.remember(file, digest)
            return digest
        return None

    def remember(self, file: InputFile, sha256: str) -> None:
        self._known[file.location] = [file.bytes, file.version, sha256]
        with contextlib.suppress(OSError):
            write_json(self._known, self._path)


def _log_failure(out: Path, outcome: Outcome) -> None:
    path = out / "logs" / "failures" / f"{outcome.job.file.task}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{outcome.error}\n\n{outcome.traceback or ''}", encoding="utf-8")


class _Costs:
    """CPU seconds per task and stage, under `logs/`: for the table and the plan, never part of the corpus."""

    def __init__(self, folder: Path):
        self._folder = folder

    def note(self, outcome: Outcome) -> None:
        report = outcome.report
        if report:
            content = {"cpu": report.cpu, "documents": report.rows, "text_bytes": report.text_bytes}
            write_json(content, self._folder / f"{report.task}.json")

    def summarize(self, tasks: Sequence[str], path: Path) -> None:
        total: dict[str, float] = {}
        documents = text_bytes = 0
        for task in tasks:
            with contextlib.suppress(OSError, ValueError):
                cost = json.loads((self._folder / f"{task}.json").read_bytes())
                documents += cost["documents"]
                text_bytes += cost["text_bytes"]
                for stage, seconds in cost["cpu"].items():
                    total[stage] = total.get(stage, 0.0) + seconds
        outer: dict[str, Any] = {name: round(total.pop(name, 0.0), 6) for name in ("read", "write", "ledger", "total")}
        # `stage/part` is within its stage: the two models of a cascade
        parts = {name: round(total.pop(name), 6) for name in sorted(total) if "/" in name}
        stages = {stage: round(seconds, 6) for stage, seconds in total.items()}
        outer |= {"parts": parts} if parts else {}
        write_json({**outer, "stages": stages, "documents": documents, "text_bytes": text_bytes}, path)
