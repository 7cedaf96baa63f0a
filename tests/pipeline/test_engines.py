"""The same run on Ray and on Slurm: the same corpus, also when the cluster loses some of it on the way."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from manifests.corpus import open_corpus
from pipeline import clusters
from pipeline.clusters import Engine, check_settings, run_on
from pipeline.executors import CurateStep, read_jobs, read_result, write_jobs
from pipeline.folder import RunError
from tests.conftest import REPOSITORY
from tests.pipeline.crawl import files_of, make_crawl, run
from tests.pipeline.slurm import one_node_cluster

SETTLED = 'policy.web.pii={ marker = "hash", key = "a secret" }'


def command(recipe: Path, out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.cli", "curate", str(recipe), "--out", str(out), "--workers", "2", *options]


def jobs_of(recipe: Path, out: Path, *overrides: str) -> list:
    """The jobs that a run would give to its engine."""
    found: list = []

    class Stop(Exception):
        pass

    def take(jobs, current):
        found.extend(jobs)
        raise Stop

    with contextlib.suppress(Stop):
        run(recipe, out, *overrides, on_start=take)
    return found


def test_jobs_travel_as_json_and_arrive_as_they_were(tmp_path):
    jobs = jobs_of(make_crawl(tmp_path), tmp_path / "out", SETTLED)
    write_jobs(jobs, tmp_path / "jobs.jsonl")
    assert [*read_jobs(tmp_path / "jobs.jsonl", 0, 2), *read_jobs(tmp_path / "jobs.jsonl", 1, 2)] == jobs[::2] + jobs[
        1::2
    ]
    assert (tmp_path / "jobs.jsonl").stat().st_mode & 0o077 == 0, "it holds the key of the markers"


def test_a_rank_puts_down_what_became_of_each_job_and_runs_none_twice(tmp_path):
    recipe = make_crawl(tmp_path)
    (tmp_path / "pages" / "001.parquet").write_bytes(b"PAR1 and nothing more")
    jobs = jobs_of(recipe, tmp_path / "out")
    write_jobs(jobs, tmp_path / "jobs.jsonl")
    results = tmp_path / "results"
    results.mkdir()
    for _ in range(2):
        list(CurateStep(tmp_path / "jobs.jsonl", results).run())
        outcomes = [read_result(results, job) for job in jobs]
        assert [outcome.report.rows if outcome.report else None for outcome in outcomes] == [120, None, 120]
        assert "001.parquet: not a whole Parquet file" in outcomes[1].error
        (tmp_path / "pages" / "000.parquet").unlink(missing_ok=True)  # so that running it again would fail


def test_what_an_engine_loses_is_a_failed_task_that_says_so(tmp_path, monkeypatch):
    jobs = jobs_of(make_crawl(tmp_path), tmp_path / "out")
    monkeypatch.setattr(clusters, "_start_ray", lambda *arguments: lambda: False)
    monkeypatch.setattr(clusters, "check_settings", lambda *arguments: None)
    outcomes = list(run_on(Engine.RAY, jobs, 2, tmp_path / "engine"))
    assert [outcome.error.partition(":")[0] for outcome in outcomes] == ["web-000", "web-001", "web-002"]
    assert all("did not end on ray" in outcome.error for outcome in outcomes)
    assert not (tmp_path / "engine" / "jobs.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "spark"], "--engine spark: there is local, ray and slurm"),
        (["--engine", "local", "--cluster", "partition=x"], "--cluster partition: not a setting of the engine local"),
        (["--engine", "slurm", "--cluster", "partition"], "--cluster partition: write it as key=value"),
        (
            ["--engine", "slurm", "--cluster", "mem_per_cpu_gb=much"],
            "--cluster mem_per_cpu_gb=much: not a number of GB",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_in_one_line(tmp_path, options, said):
    ended = subprocess.run(
        command(make_crawl(tmp_path, files=1), tmp_path / "out", *options), capture_output=True, text=True, check=False
    )
    assert ended.returncode in (1, 2)
    assert ended.stderr.startswith(f"error: {said}")
    assert len(ended.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_without_slurm_the_engine_says_where_to_run(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RunError, match="no sbatch here"):
        check_settings(Engine.SLURM, {})


def _descendants(pid: int) -> list[int]:
    """All processes below one, nearest first."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            found += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    return found[1:]


def _named(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'fairtrove[ray]'"
)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes by /proc")
def test_on_ray_a_worker_killed_in_mid_run_costs_nothing(tmp_path):
    recipe = make_crawl(tmp_path, files=4, rows=600)
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "RAY_ADDRESS": ""}
    process = subprocess.Popen(command(recipe, out, "--engine", "ray"), env=environment, stderr=subprocess.PIPE)
    victim = _wait_for(process, out, lambda pid: "ray::RankWorker" in _named(pid))
    os.kill(victim, signal.SIGKILL)
    assert process.wait(300) == 0, process.stderr.read().decode() if process.stderr else ""
    assert files_of(out) == files_of(run(recipe, tmp_path / "calm").corpus.path)


def _wait_for(process: subprocess.Popen, out: Path, chosen) -> int:
    """A descendant of the process that is at work on a task."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if any((out / ".staging").glob("*")):
            for pid in _descendants(process.pid):
                if chosen(pid):
                    return pid
        time.sleep(0.02)
    raise AssertionError("no worker was seen at work")


@pytest.mark.slow
def test_on_slurm_a_cancelled_array_task_is_run_by_the_next_command(tmp_path, monkeypatch):
    with one_node_cluster(tmp_path / "slurm") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
        recipe = make_crawl(tmp_path, files=4, rows=300)
        out = tmp_path / "out"
        options = ("--engine", "slurm", "--cluster", "mem_per_cpu_gb=1", "--cluster", "time=10")
        process = subprocess.Popen(command(recipe, out, *options), stderr=subprocess.PIPE)
        job = _cancel_one_task(process)
        assert process.wait(300) == 1
        said = process.stderr.read().decode() if process.stderr else ""
        assert "did not end on slurm: cancelled" in said
        assert "1 of 4 input files failed" in said
        again = subprocess.run(command(recipe, out, *options), capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stderr
        assert "1 files curated, 3 unchanged" in again.stdout
        assert job
    assert open_corpus(out).root == run(recipe, tmp_path / "calm").corpus.root
    assert files_of(out) == files_of(tmp_path / "calm")


def _cancel_one_task(process: subprocess.Popen) -> str:
    """Cancel the last task of the array that the process submitted, before it runs; returns the job's number."""
    for _ in range(1200):
        queued = subprocess.run(["squeue", "-h", "-r", "-o", "%A %i"], capture_output=True, text=True, check=False)
        tasks = sorted(line.split()[1] for line in queued.stdout.splitlines())
        if tasks:
            job, _, _ = tasks[-1].partition("_")
            subprocess.run(["scancel", f"{job}_3"], check=True)
            return job
        assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""
        time.sleep(0.05)
    raise AssertionError("nothing was submitted")


@pytest.mark.slow
def test_on_slurm_a_second_command_waits_for_the_first_ones_array(tmp_path, monkeypatch):
    """The parent dies; its array works on. Another run must not sweep away what that writes."""
    monkeypatch.setattr(clusters, "slurm_works", lambda job: True)
    monkeypatch.setattr(clusters.shutil, "which", lambda name: f"/usr/bin/{name}")
    recipe = make_crawl(tmp_path, files=1)
    run(recipe, tmp_path / "out")
    folder = tmp_path / "out" / "logs" / "engine"
    folder.mkdir(parents=True)
    (folder / "slurm.json").write_text('{"job": "17"}')
    with pytest.raises(RunError, match="Slurm job 17 still works on this corpus; wait for it, or stop it: scancel 17"):
        run(recipe, tmp_path / "out")
