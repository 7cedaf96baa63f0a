"""A run may die at any moment: the corpus then is the version before, and ends as if nothing had happened."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from manifests.audit import audit
from manifests.corpus import open_corpus, published_versions, version_folder
from manifests.files import file_sha256
from pipeline.curate import curate
from tests.pipeline import dying
from tests.pipeline.crawl import files_of, make_crawl, planned, run

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pipeline.curate", "tests.pipeline.crawl"])


def assert_vouches_only_for_whole_files(out: Path) -> None:
    """Every record on disk, published or not, names files that are there with their digests."""
    for version in published_versions(out):
        if version == published_versions(out)[-1]:
            corpus = open_corpus(out, version)
            corpus.verify_manifest()
            corpus.verify_shards()
    for path in out.glob("manifests/v*/tasks/*.json"):
        record = json.loads(path.read_bytes())
        folder = path.parent.parent
        newest = published_versions(out)[-1:] == [int(folder.name[1:])]
        if newest or not (folder / "run.json").exists():
            for shard in record["shards"]:
                assert file_sha256(out / shard["name"]) == shard["sha256"]
        for table, described in record["tables"].items():
            assert file_sha256(folder / table / f"{record['name']}.parquet") == described["sha256"]


def _die_at_rename(recipe: Path, out: Path, count: int, after: bool, overrides: tuple[str, ...]) -> None:
    """Run in this process, which ends without any clean-up at its `count`-th rename."""
    dying.die_at_rename(count, after)
    curate(planned(recipe, *overrides), out)


def _renames(recipe: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names that an undisturbed run renames into place, in order."""
    replace, names = os.replace, []

    def noted(source, target, **options):
        names.append(Path(target).name)
        replace(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", noted)
        run(recipe, out)
    return names


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_death_at_every_rename_leaves_a_whole_version_and_the_same_bytes_in_the_end(tmp_path, monkeypatch, after):
    recipe = make_crawl(tmp_path, files=2, rows=40)
    renames = _renames(recipe, tmp_path / "calm", monkeypatch)
    undisturbed = files_of(tmp_path / "calm")
    assert {"run.json", "hosts.parquet", "web-000.json"} <= set(renames)
    for count, name in enumerate(renames, start=1):
        out = tmp_path / f"out{count}"
        child = CONTEXT.Process(target=_die_at_rename, args=(recipe, out, count, after, ()))
        child.start()
        child.join()
        assert child.exitcode == 9, f"did not die at rename {count} of {name}"
        assert_vouches_only_for_whole_files(out)
        done = renames[: count if after else count - 1]
        assert (version_folder(out, 1) / "run.json").exists() == ("run.json" in done)
        corpus = run(recipe, out).corpus
        assert files_of(out) == undisturbed, f"other bytes after dying at rename {count} of {name}"
        assert audit(corpus).passed


def test_death_while_replacing_a_version_leaves_the_old_or_the_new_one(tmp_path):
    recipe = make_crawl(tmp_path, files=2, rows=40)
    out = tmp_path / "out"
    first = run(recipe, out).corpus.root
    second = run(recipe, tmp_path / "calm", "policy.web.robots.star=ignore").corpus.root
    for count in range(1, 60):
        arguments = (recipe, out, count, bool(count % 2), ("policy.web.robots.star=ignore",))
        child = CONTEXT.Process(target=_die_at_rename, args=arguments)
        child.start()
        child.join()
        assert_vouches_only_for_whole_files(out)
        assert open_corpus(out).root in (first, second)
        if child.exitcode == 0:
            break
    assert open_corpus(out).root == second
    assert open_corpus(out).version == 2


def _command(recipe: Path, out: Path, workers: int) -> list[str]:
    return [sys.executable, "-m", "pipeline.cli", "curate", str(recipe), "--out", str(out), "--workers", str(workers)]


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _wait_until_gone(pids: list[int]) -> None:
    for _ in range(500):
        if not any(Path(f"/proc/{pid}").exists() and _state(pid) != "Z" for pid in pids):
            return
        time.sleep(0.01)
    raise AssertionError(f"processes {pids} outlive their parent")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes by /proc")
def test_fifty_kills_of_workers_and_parents_end_in_the_bytes_of_an_undisturbed_run(tmp_path):
    recipe = make_crawl(tmp_path, files=6, rows=1500)
    undisturbed = files_of(run(recipe, tmp_path / "calm").corpus.path)
    rng = random.Random(7)
    kills = rounds = 0
    while kills < 50:
        rounds += 1
        assert rounds < 60, f"only {kills} kills met a run at work"
        out = tmp_path / f"out{rounds}"
        for attempt in range(5):
            process = subprocess.Popen(_command(recipe, out, 2), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _wait_for_work(process, out)
            time.sleep(rng.uniform(0, 1.0))
            workers = _children(process.pid)
            if attempt < 4 and process.poll() is None:
                victim = rng.choice([process.pid, *workers])
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    kills += 1
                if victim == process.pid:
                    process.wait()
                    _wait_until_gone(workers)
            assert_vouches_only_for_whole_files(out)
            if process.wait() == 0:
                break
        assert files_of(out) == undisturbed
        shutil.rmtree(out)


def _wait_for_work(process: subprocess.Popen, out: Path) -> None:
    """Until a task is under way, or the run is over."""
    while process.poll() is None and not any((out / ".staging").glob("*")):
        time.sleep(0.005)


def test_a_killed_worker_costs_its_task_a_retry_and_nobody_else_anything(tmp_path):
    recipe = make_crawl(tmp_path, files=4, rows=60)
    marker = tmp_path / "died-once"
    outcome = subprocess.run(
        [sys.executable, "-c", _KILL_FIRST_WORKER, str(recipe), str(tmp_path / "out"), str(marker)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "FAIRTROVE_TEST_MARKER": str(marker)},
    )
    assert outcome.returncode == 0, outcome.stderr
    assert marker.exists()
    assert open_corpus(tmp_path / "out").root == run(recipe, tmp_path / "calm").corpus.root


_KILL_FIRST_WORKER = """
import sys
from pathlib import Path
from tests.pipeline import dying
from tests.pipeline.crawl import planned
from pipeline.curate import curate
if __name__ == "__main__":
    import pipeline.executors
    pipeline.executors._work = dying.work
    result = curate(planned(Path(sys.argv[1])), Path(sys.argv[2]), workers=2)
    assert result.corpus is not None and not result.failed, result.failed
"""


def test_a_task_that_keeps_killing_its_worker_fails_alone(tmp_path):
    recipe = make_crawl(tmp_path, files=3, rows=60)
    outcome = subprocess.run(
        [sys.executable, "-c", _ALWAYS_KILL, str(recipe), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    failed, ran = outcome.stdout.strip().split("|")
    assert failed == "web-001: its worker died 2 times (SIGKILL; out of memory? use fewer --workers)"
    assert ran == "web-000 web-002"


_ALWAYS_KILL = """
import sys
from pathlib import Path
from tests.pipeline import dying
from tests.pipeline.crawl import planned
from pipeline.curate import curate
if __name__ == "__main__":
    import pipeline.executors
    pipeline.executors._work = dying.work_but_die_on_001
    result = curate(planned(Path(sys.argv[1])), Path(sys.argv[2]), workers=2)
    failed = [f"{outcome.job.file.task}: {outcome.error}" for outcome in result.failed]
    print(*failed, sep=";", end="|")
    print(*sorted(result.ran))
"""


def test_an_interrupted_run_is_resumed_from_its_finished_tasks(tmp_path):
    recipe = make_crawl(tmp_path)
    out = tmp_path / "out"
    plan = planned(recipe)
    ended = []

    class Stop(Exception):
        pass

    def stop(outcome):
        ended.append(outcome.job.file.task)
        raise Stop

    with pytest.raises(Stop):
        curate(plan, out, on_end=stop)
    resumed = run(recipe, out)
    assert resumed.resumed == ended
    assert sorted(resumed.ran + ended) == ["web-000", "web-001", "web-002"]
    assert files_of(out) == files_of(run(recipe, tmp_path / "calm").corpus.path)


def test_a_read_only_folder_is_an_error_in_one_line(tmp_path):
    recipe = make_crawl(tmp_path)
    (tmp_path / "file").write_text("")
    result = subprocess.run(_command(recipe, tmp_path / "file" / "out", 1), capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert "cannot be written" in result.stderr
