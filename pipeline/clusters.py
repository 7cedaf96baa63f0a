"""Engines beyond this machine: the tasks of a run on Ray or Slurm, through datatrove's executors.

Workers and this process meet in the corpus folder, which all of them must see: a list of jobs, and one file per task
that ended. So the parent needs nothing of an engine but to know whether it is still at work, and what an engine loses
(a worker killed, an array task cancelled, a node gone) is a task without an outcome: it is reported as failed, and the
same command runs it, and it alone, again. datatrove's own completion marks are not used: they do not know what a task
was made from.

Ray tries a lost rank again by itself, up to three times; tasks of it that have ended are not run twice.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from manifests.files import write_json
from pipeline.executors import CurateStep, Outcome, read_result, result_path, run_jobs, write_jobs
from pipeline.folder import RunError
from pipeline.task import Job

MOST_RANKS = 1000
"""Array tasks of one Slurm job: clusters allow 1,001 unless they say otherwise."""
RANKS_PER_WORKER = 8  # small enough that a late rank keeps few cores waiting, large enough to start Python seldom
_POLL_SECONDS = 1.0


class Engine(StrEnum):
    """Where tasks run."""

    LOCAL = "local"
    RAY = "ray"
    SLURM = "slurm"


SETTINGS: Mapping[Engine, Mapping[str, str]] = {
    Engine.LOCAL: {},
    Engine.RAY: {
        "address": "of a running cluster; by default RAY_ADDRESS, else a Ray of our own on this machine",
        "mem_per_cpu_gb": "memory to reserve per worker (2)",
    },
    Engine.SLURM: {
        "partition": "the cluster's default unless given",
        "time": "limit of one array task (24:00:00)",
        "mem_per_cpu_gb": "memory per worker (2)",
        "setup": "shell command before each worker, such as `module load python`",
        "account": "passed to sbatch, as are qos, constraint and reservation",
        "qos": "",
        "constraint": "",
        "reservation": "",
    },
}


def check_settings(engine: Engine, settings: Mapping[str, str]) -> None:
    """Refuse what the engine does not know or cannot use.

    Raises:
        RunError: names the setting, or what is missing on this machine.
    """
    for name in settings:
        if name not in SETTINGS[engine]:
            known = ", ".join(SETTINGS[engine]) or "none"
            raise RunError(f"--cluster {name}: not a setting of the engine {engine}; known: {known}")
    with contextlib.suppress(KeyError, ValueError):
        if float(settings["mem_per_cpu_gb"]) > 0:
            settings = {name: value for name, value in settings.items() if name != "mem_per_cpu_gb"}
    if "mem_per_cpu_gb" in settings:
        raise RunError(f"--cluster mem_per_cpu_gb={settings['mem_per_cpu_gb']}: not a number of GB")
    if engine is Engine.SLURM and shutil.which("sbatch") is None:
        raise RunError("--engine slurm: no sbatch here; run on a machine that can submit to the cluster")
    if engine is Engine.RAY:
        try:
            import ray  # noqa: F401
        except ImportError as error:
            raise RunError("--engine ray: Ray is not installed; pip install 'fairtrove[ray]'") from error


def run_on(
    engine: Engine, jobs: Sequence[Job], workers: int, folder: Path, settings: Mapping[str, str] | None = None
) -> Iterator[Outcome]:
    """Run every job once on the engine and yield outcomes as they come.

    Args:
        workers: at most so many tasks at a time.
        folder: for jobs and outcomes, on a disk that all workers see; emptied first.
        settings: see `SETTINGS`.

    Raises:
        RunError: a setting is wrong, the engine cannot be reached, or it still works for an earlier run.
    """
    if engine is Engine.LOCAL:
        yield from run_jobs(jobs, workers)
        return
    settings = dict(settings or {})
    check_settings(engine, settings)
    expect_idle(folder)
    if not jobs:
        return
    shutil.rmtree(folder, ignore_errors=True)
    results = folder / "results"
    results.mkdir(parents=True)
    write_jobs(jobs, folder / "jobs.jsonl")
    step = CurateStep(folder / "jobs.jsonl", results)
    ranks = min(len(jobs), MOST_RANKS, workers * RANKS_PER_WORKER)
    start = _start_ray if engine is Engine.RAY else _start_slurm
    working = start(step, ranks, workers, folder, settings)
    try:
        yield from _collect(jobs, results, working, engine, folder)
    finally:
        if not working():
            (folder / "jobs.jsonl").unlink(missing_ok=True)  # a policy may hold the key of hashed markers


def _collect(
    jobs: Sequence[Job], results: Path, working: Callable[[], bool], engine: Engine, folder: Path
) -> Iterator[Outcome]:
    left = {result_path(results, job).name: job for job in jobs}
    at_work = True
    while left and at_work:
        at_work = working()  # asked before looking, so that the last outcomes are seen
        for name in sorted(left.keys() & {entry.name for entry in os.scandir(results)}):
            outcome = read_result(results, left[name])
            if outcome is not None:
                del left[name]
                yield outcome
        if left and at_work:
            time.sleep(_POLL_SECONDS)
    for job in left.values():
        yield Outcome(
            job,
            error=f"{job.file.task}: did not end on {engine}: cancelled, out of time or memory, or its node was lost "
            f"({folder} holds what it printed); run again",
        )


# -- Ray


def _start_ray(
    step: CurateStep, ranks: int, workers: int, folder: Path, settings: Mapping[str, str]
) -> Callable[[], bool]:
    import ray
    from datatrove.executor import RayPipelineExecutor

    started = not ray.is_initialized()
    address = settings.get("address") or os.environ.get("RAY_ADDRESS")
    if started:
        own = {"address": address} if address else {"num_cpus": workers, "include_dashboard": False}
        try:
            ray.init(**own, log_to_driver=False, logging_level=logging.ERROR, _skip_env_hook=True)
        except Exception as error:  # Ray has many kinds
            raise RunError(f"--engine ray: {address or 'this machine'}: {str(error).splitlines()[0]}") from error
    executor = RayPipelineExecutor(
        [step],
        tasks=ranks,
        workers=min(workers, ranks),
        logging_dir=str(folder / "datatrove"),
        mem_per_cpu_gb=float(settings.get("mem_per_cpu_gb", 2)),
    )

    def run() -> None:
        try:
            executor.run()
        finally:
            if started:
                ray.shutdown()

    thread = threading.Thread(target=run, name="ray", daemon=True)
    thread.start()
    return thread.is_alive


# -- Slurm


def _start_slurm(
    step: CurateStep, ranks: int, workers: int, folder: Path, settings: Mapping[str, str]
) -> Callable[[], bool]:
    from datatrove.executor import SlurmPipelineExecutor

    class Executor(SlurmPipelineExecutor):
        """datatrove's, without the job that merges statistics: one task cancelled would leave it waiting for ever."""

        def launch_merge_stats(self) -> None:
            pass

        def get_sbatch_args(self, max_array: int = 1) -> dict[str, Any]:
            return {name: value for name, value in super().get_sbatch_args(max_array).items() if value is not None}

    binaries = shlex.quote(str(Path(sys.executable).parent))
    modules = os.environ.get("PYTHONPATH", "")
    environment = [settings.get("setup", ":"), f"export PATH={binaries}:$PATH PYTHONPATH={shlex.quote(modules)}"]
    executor = Executor(
        [step],
        tasks=ranks,
        workers=workers,
        time=settings.get("time", "24:00:00"),
        partition=settings.get("partition"),
        qos=settings.get("qos"),
        mem_per_cpu_gb=settings.get("mem_per_cpu_gb", "2"),
        job_name="fairtrove",
        logging_dir=str(folder / "datatrove"),
        slurm_logs_folder=str(folder / "slurm"),
        env_command="; ".join(environment),
        sbatch_args={name: settings[name] for name in ("account", "constraint", "reservation") if name in settings},
        requeue=False,
        requeue_signals=None,
        mail_type="NONE",
        with_srun=False,
    )
    try:
        executor.run()
    except (subprocess.CalledProcessError, OSError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise RunError(f"--engine slurm: sbatch refused the job: {str(said).strip()[:300]}") from error
    write_json({"job": executor.job_id}, folder / "slurm.json")
    return lambda: slurm_works(str(executor.job_id))


def slurm_works(job: str) -> bool:
    """Whether tasks of a Slurm job wait or run.

    Raises:
        RunError: Slurm does not answer for a quarter of an hour.
    """
    for attempt in range(10):
        if attempt:
            time.sleep(min(2.0**attempt, 200))
        said = subprocess.run(["squeue", "-h", "-j", job, "-o", "%T"], capture_output=True, text=True, check=False)
        if said.returncode == 0:
            return bool(said.stdout.strip())
        if "Invalid job id" in said.stderr:  # it is so old that Slurm has forgotten it
            return False
    raise RunError(f"squeue does not answer for job {job}: {said.stderr.strip()[:200]}; run again when it does")


def expect_idle(folder: Path) -> None:
    """Refuse to begin while an earlier run's array is at work on the same corpus.

    Raises:
        RunError: names the job.
    """
    with contextlib.suppress(OSError, ValueError, KeyError):
        job = str(json.loads((folder / "slurm.json").read_bytes())["job"])
        if shutil.which("squeue") and slurm_works(job):
            raise RunError(f"Slurm job {job} still works on this corpus; wait for it, or stop it: scancel {job}")
