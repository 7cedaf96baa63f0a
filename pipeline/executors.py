"""Running tasks: in this process, or over worker processes that may die at any moment.

Why not a pool: `multiprocessing.Pool` waits for ever for the task of a killed worker, and datatrove's local executor,
built on it, terminates the others at the first exception. Here each worker has its own pipe, so that the death of one
costs its task one retry and nobody else anything; workers end at once when the parent is gone, so that no orphan goes
on writing. A task that raises fails alone; the others complete.

`CurateStep` runs the same tasks under datatrove's own executors, for Ray and Slurm (`pipeline.clusters`) or your own.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep
from pydantic import TypeAdapter

from manifests.files import write_json
from manifests.schema import FairtroveError
from pipeline.task import Job, Progress, TaskReport, run_task

TRIES = 2
"""A task whose worker dies is tried once more: the worker may have been the victim of another's memory."""
_REPORT_EVERY = 0.1  # seconds between progress messages of a worker
_LOOK_EVERY = 10.0  # seconds after which silent workers are looked for
_GRACE = 60.0  # seconds beyond its time that a worker has to end by itself, start-up and publishing included


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended: a report, or an error in one line and its traceback."""

    job: Job
    report: TaskReport | None = None
    error: str | None = None
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """Progress of one task: documents read so far, and about which share of the file that is."""

    job: Job
    documents: int
    fraction: float


OnStep = Callable[[Step], None]


def run_jobs(
    jobs: Sequence[Job], workers: int, on_step: OnStep | None = None, isolated: bool = False
) -> Iterator[Outcome]:
    """Run every job once, on `workers` processes (1: in this one), and yield outcomes as they come.

    Args:
        isolated: run even a single job in a process of its own, whose death this one survives.
    """
    if not isolated and (workers <= 1 or len(jobs) <= 1):
        for job in jobs:
            yield _attempt(job, _throttled(job, on_step) if on_step else None)
    else:
        yield from _run_parallel(jobs, min(workers, len(jobs)), on_step)


class CurateStep(PipelineStep):
    """All tasks of a run as one datatrove step: rank r of world_size runs every world_size-th job, from r on.

    Put it alone into any datatrove executor. Without `results` a failing task raises after the rank's other tasks have
    run, so that the executor reports the rank as failed.

    Args:
        jobs: the jobs, or a file that `write_jobs` made: what travels to the workers then is its path.
        results: folder where each job's outcome is put down as `<task>.json`; a job that has one is not run again.
    """

    name = "Curate"
    type = "⚖️ - FAIRTROVE"

    def __init__(self, jobs: Sequence[Job] | Path, results: Path | None = None):
        super().__init__()
        self.jobs = jobs if isinstance(jobs, Path) else list(jobs)
        self.results = results

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Run this rank's tasks; yields what came in.

        Raises:
            FairtroveError: names every failed task of the rank.
        """
        if data:
            yield from data
        jobs = list(read_jobs(self.jobs, rank, world_size)) if isinstance(self.jobs, Path) else self.jobs
        if not isinstance(self.jobs, Path):
            jobs = jobs[rank::world_size]
        if self.results is None:
            outcomes = [_attempt(job, None) for job in jobs]
            failed = [f"{outcome.job.file.task}: {outcome.error}" for outcome in outcomes if outcome.error]
            if failed:
                raise FairtroveError("; ".join(failed))
            return
        left = [job for job in jobs if not result_path(self.results, job).exists()]
        for outcome in run_jobs(left, 1, isolated=True):
            _write_result(outcome, self.results)


_JOB: TypeAdapter[Job] = TypeAdapter(Job)


def write_jobs(jobs: Sequence[Job], path: Path) -> None:
    """One job per line, as JSON: a list of a million travels to no worker, and nothing of it is code."""
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        for job in jobs:
            file.write(_JOB.dump_json(job, exclude_unset=True) + b"\n")


def read_jobs(path: Path, rank: int, world_size: int) -> Iterator[Job]:
    """Every `world_size`-th job from the `rank`-th on."""
    with open(path, "rb") as file:
        for line in islice(file, rank, None, world_size):
            yield _JOB.validate_json(line)


def result_path(results: Path, job: Job) -> Path:
    """Where a job's outcome is put down."""
    return results / f"{job.file.task}.json"


def read_result(results: Path, job: Job) -> Outcome | None:
    """The outcome that a worker put down, if it has."""
    try:
        said = json.loads(result_path(results, job).read_bytes())
    except FileNotFoundError:
        return None
    report = TaskReport(**said["report"]) if said["report"] else None
    return Outcome(job, report, said["error"], said["traceback"])


def _write_result(outcome: Outcome, results: Path) -> None:
    report = asdict(outcome.report) if outcome.report else None
    write_json(
        {"report": report, "error": outcome.error, "traceback": outcome.traceback}, result_path(results, outcome.job)
    )


def _attempt(job: Job, progress: Progress | None) -> Outcome:
    try:
        return Outcome(job, run_task(job, progress))
    except FairtroveError as error:
        return Outcome(job, error=str(error), traceback=traceback.format_exc())
    except MemoryError:
        return Outcome(job, error="out of memory; use fewer --workers", traceback=traceback.format_exc())
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return Outcome(job, error=f"{where}{error.strerror or error}", traceback=traceback.format_exc())
    except Exception as error:
        if type(error).__module__.startswith("filters."):  # raised with a message for the reader
            return Outcome(job, error=f"{job.file.task}: {error}", traceback=traceback.format_exc())
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(last.filename)}:{last.lineno}"
        return Outcome(job, error=f"{type(error).__name__} at {place}", traceback=traceback.format_exc())


def _throttled(job: Job, on_step: OnStep) -> Progress:
    last = 0.0

    def progress(documents: int, fraction: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _REPORT_EVERY:
            last = now
            on_step(Step(job, documents, fraction))

    return progress


@dataclass(slots=True)
class _Worker:
    process: Any
    pipe: Connection
    alive: Connection  # held open by the parent; the worker ends when it closes
    job: Job | None = None
    heard: float = 0.0  # when it last said something, by the monotonic clock


@dataclass(slots=True)
class _Queue:
    waiting: deque[Job]
    tries: dict[str, int] = field(default_factory=dict)


def _run_parallel(jobs: Sequence[Job], workers: int, on_step: OnStep | None) -> Iterator[Outcome]:
    queue = _Queue(deque(jobs))
    crew = [_hire() for _ in range(workers)]
    try:
        while True:
            for worker in crew:
                if worker.job is None and queue.waiting:
                    _assign(worker, queue)
            busy = [worker for worker in crew if worker.job is not None]
            if not busy:
                return
            watched = [worker.pipe for worker in busy] + [worker.process.sentinel for worker in busy]
            ready = wait(watched, timeout=_LOOK_EVERY)
            for worker in busy:
                if worker.job and _silent(worker) and worker.pipe not in ready:
                    worker.process.kill()
            for worker in busy:
                if worker.pipe in ready or worker.process.sentinel in ready:
                    outcome = _hear(worker, queue, on_step)
                    if outcome:
                        yield outcome
                    if not worker.process.is_alive():
                        crew[crew.index(worker)] = _hire()
    finally:
        for worker in crew:
            worker.alive.close()
            worker.process.terminate()
        for worker in crew:
            worker.process.join(10)


def _hire() -> _Worker:
    context = multiprocessing.get_context("spawn")
    pipe, far_pipe = context.Pipe()
    watched, alive = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(far_pipe, watched), daemon=True)
    process.start()
    far_pipe.close()
    watched.close()
    return _Worker(process, pipe, alive)


def _assign(worker: _Worker, queue: _Queue) -> None:
    job = queue.waiting.popleft()
    queue.tries[job.file.task] = queue.tries.get(job.file.task, 0) + 1
    worker.job = job
    worker.heard = time.monotonic()
    with contextlib.suppress(OSError):  # it died while idle: its sentinel tells, and the job is tried again
        worker.pipe.send(job)


def _hear(worker: _Worker, queue: _Queue, on_step: OnStep | None) -> Outcome | None:
    """Take one message, or the death of the worker."""
    job = worker.job
    if job is None:
        return None
    try:
        message = worker.pipe.recv() if worker.pipe.poll() else None
    except (EOFError, OSError):
        message = None
    silent = _silent(worker)
    worker.heard = time.monotonic()
    if isinstance(message, Step):
        if on_step:
            on_step(message)
        return None
    if isinstance(message, Outcome):
        worker.job = None
        return message
    worker.process.join(10)
    worker.job = None
    if silent:
        return Outcome(
            job, error=f"{job.file.task}: no sign of life within {job.batch_timeout:g} s; its worker was ended"
        )
    if queue.tries[job.file.task] < TRIES:
        queue.waiting.appendleft(job)
        return None
    return Outcome(job, error=f"its worker died {TRIES} times ({_cause(worker.process.exitcode)})")


def _silent(worker: _Worker) -> bool:
    """Whether a worker is overdue: it would have ended the task by itself, if anything still ran in it."""
    limit = worker.job.batch_timeout if worker.job else 0.0
    return limit > 0 and time.monotonic() - worker.heard > limit + _GRACE


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"{name}; out of memory? use fewer --workers" if name == "SIGKILL" else name
    return f"exit code {exitcode}"


def _work(pipe: Connection, watched: Connection) -> None:
    """Main loop of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    threading.Thread(target=_end_with_parent, args=(watched,), daemon=True).start()
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send(_attempt(job, _throttled(job, pipe.send)))


def _end_with_parent(watched: Connection) -> None:
    try:
        watched.recv()
    except (EOFError, OSError):
        os._exit(1)
