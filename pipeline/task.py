"""One task: one input file through all stages into shards, a closed ledger and a record written last.

A task depends on nothing but its job, so it can run in this process, in a worker, or on another machine, and be killed
and repeated at will. Until its record is written nothing of it is visible; after that everything is.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from datatrove.data import Document

from filters.decision import Decision
from manifests.ledger import Account, Ledger
from manifests.publish import publish_task
from manifests.schema import ConservationError, FairtroveError, Stage, restore_host
from pipeline.alarm import BATCH_SECONDS, alarm
from pipeline.inputs import InputFile, localized
from pipeline.intake import Intake
from pipeline.recipe import Output, Policy, Source
from pipeline.shards import ShardWriter, language_label
from pipeline.stages import RecordedStage, build_stages, pins

Progress = Callable[[int, float], None]
"""Called with the documents read so far in the task and about which share of the file that is."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker needs to run one task; plain values only.

    Attributes:
        corpus: folder of the corpus.
        version: number of the version in the making.
        staging: folder for temporary files, of this run alone.
        fingerprint: digest of recipe and code, recorded with the task.
        pins: digests of the snapshots that the plan found; the task refuses any other.
        limit: only the first rows of the file.
        batch_timeout: seconds that a stage may take for one batch; 0 for ever.
    """

    corpus: Path
    version: int
    staging: Path
    file: InputFile
    source: Source
    policy: Policy
    output: Output
    fingerprint: str
    pins: Mapping[str, str]
    limit: int | None = None
    batch_timeout: float = BATCH_SECONDS


@dataclass(frozen=True, slots=True)
class TaskReport:
    """What a finished task cost; goes to `logs/`, never into the corpus.

    Attributes:
        cpu: CPU seconds by stage, with `read`, `write`, `ledger` and `total`.
    """

    task: str
    rows: int
    kept: int
    text_bytes: int
    input_sha256: str
    cpu: dict[str, float] = field(default_factory=dict)


def run_task(job: Job, progress: Progress | None = None) -> TaskReport:
    """Run one task to its published record.

    Raises:
        FairtroveError: the file cannot be read as a whole, or a stage broke conservation; nothing was published.
    """
    started = time.process_time()
    job.staging.mkdir(parents=True, exist_ok=True)
    # Of this attempt alone: on a cluster, one that was given up for lost may still be at it. Both then publish the same
    # bytes under the same names.
    staging = Path(tempfile.mkdtemp(prefix=f"{job.file.task}.", dir=job.staging))
    try:
        return _run(job, staging, progress, started)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _run(job: Job, staging: Path, progress: Progress | None, started: float) -> TaskReport:
    task = job.file.task
    stages = stages_for(job.source, job.policy, job.fingerprint, job.pins)
    if pins(stages) != job.pins:
        raise FairtroveError(f"{task}: a robots.txt snapshot changed after the run began; run again")
    labels = [str(Stage.INTAKE), *(stage.stage for stage in stages)]
    ledger = Ledger(task, labels)
    with localized(job.file, staging) as local:
        edition = sha256("\0".join([job.fingerprint, json.dumps(job.pins, sort_keys=True), local.sha256]).encode())
        intake = Intake(job.file, local.path, job.source, job.limit)
        writer = ShardWriter(task, edition.hexdigest()[:10], staging, job.output, ledger.keep)
        try:
            with alarm(task, job.batch_timeout) as alive:
                _drain(intake, stages, writer, ledger, progress, alive)
            writer.close()
        except BaseException:
            writer.abandon()
            raise
        closing = time.process_time()
        account = ledger.close(intake.rows)
    record = {
        "name": task,
        "source": job.file.source,
        "kind": job.source.kind,
        "input": {
            "name": job.file.name,
            "bytes": local.bytes,
            "sha256": local.sha256,
            "rows": intake.rows,
            "limit": job.limit,
        },
        "fingerprint": job.fingerprint,
        "evidence": evidence_digests(stages, hosts_of(account)),
        "stages": labels,
    }
    publish_task(job.corpus, job.version, account, writer.shards, writer.staged, staging, record)
    ended = time.process_time()
    cpu = {stage.stage: stage.cpu_seconds for stage in stages}
    for stage in stages:
        cpu |= getattr(stage, "parts", dict)()
    cpu |= {
        "read": intake.cpu_seconds,
        "write": writer.cpu_seconds,
        "ledger": ended - closing,
        "total": ended - started,
    }
    return TaskReport(task, account.rows, account.rows_kept, intake.text_bytes, local.sha256, cpu)


def _drain(
    intake: Intake,
    stages: Sequence[RecordedStage],
    writer: ShardWriter,
    ledger: Ledger,
    progress: Progress | None,
    alive: Callable[[], None],
) -> None:
    rows = 0

    def record(stage: str, documents: Sequence[Document], decisions: Sequence[Decision]) -> None:
        try:
            entries = [document.entry for document in documents]
        except AttributeError as error:
            raise ConservationError(
                f"{ledger.task}: stage {stage} yields documents that were not read from the file; "
                "a step must pass on the Document that it was given"
            ) from error
        ledger.record(stage, entries, decisions, [language_label(document.metadata) for document in documents])
        nonlocal rows
        if stage == Stage.INTAKE:
            rows = entries[-1].file_row + 1
        if progress:
            progress(rows, intake.fraction)
        alive()

    intake.recorder = record
    stream = intake.run()
    for stage in stages:
        stage.recorder = record
        stage.cpu_seconds = 0.0
        stream = stage.run(stream)
    deque(writer.run(stream), maxlen=0)


def stages_for(source: Source, policy: Policy, fingerprint: str, pinned: Mapping[str, str]) -> list[RecordedStage]:
    """The stages of a source, built once per process so that models stay loaded from task to task."""
    files = fingerprint + json.dumps(pinned, sort_keys=True)
    return _stages(source.model_dump_json(exclude={"path"}), policy.model_dump_json(exclude_unset=True), files)


@lru_cache(maxsize=64)
def _stages(source: str, policy: str, files: str) -> list[RecordedStage]:
    """`files` only tells apart two states of the same paths."""
    settings = json.loads(source) | {"path": "-"}
    return build_stages(Source.model_validate(settings), Policy.model_validate_json(policy))


def hosts_of(account: Account) -> list[tuple[str, int | None]]:
    """Every host that a task met."""
    rhosts = set(account.kept.column("rhost").to_pylist()) | set(account.decisions.column("rhost").to_pylist())
    return sorted((restore_host(rhost) for rhost in rhosts if rhost), key=lambda host: (host[0], host[1] or 0))


def evidence_digests(stages: Sequence[RecordedStage], hosts: Sequence[tuple[str, int | None]]) -> dict[str, str]:
    """Per stage that consults a snapshot, the digest of what it says about these hosts: a newer snapshot that says the
    same about them re-runs nothing."""
    return {stage.stage: stage.evidence_digest(hosts) for stage in stages if hasattr(stage, "evidence_digest")}
