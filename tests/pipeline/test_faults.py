"""One fault at a time: the corpus is the version before or the right one, and the error says what to do."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from datatrove.pipeline.filters.base_filter import BaseFilter

import manifests.files
from manifests.corpus import published_versions
from pipeline import stock
from pipeline.curate import curate
from pipeline.folder import RunError, locked
from pipeline.inputs import SourceError
from pipeline.recipe import StockFilter
from tests.pipeline.crawl import files_of, make_crawl, pages, planned, run, write_parquet

AS_ROOT = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a disk: needs root on Linux")


def late(doc) -> bool:
    """Whether a page of `crawl.pages` is behind the 77th."""
    return int(doc.metadata["url"].rpartition("/")[2]) > 77


class Slow(BaseFilter):
    """Hangs on one document, once its folder says so."""

    name = "slow"

    def filter(self, doc) -> bool:
        if late(doc):
            time.sleep(float(os.environ.get("FAIRTROVE_TEST_HANG", "0")))
        return True


class Breaking(BaseFilter):
    """Raises on one document."""

    name = "breaking"

    def filter(self, doc) -> bool:
        if late(doc):
            raise ZeroDivisionError("a bug of somebody's filter")
        return True


class Greedy(BaseFilter):
    """Is killed by the kernel for want of memory, or so it looks from outside."""

    name = "greedy"

    def filter(self, doc) -> bool:
        if late(doc):
            os.kill(os.getpid(), 9)
        return True


def with_filter(folder: Path, name: str, files: int = 1) -> Path:
    from tests.pipeline.crawl import RECIPE

    recipe = RECIPE.replace("[output]", f'[[policy.web.filters]]\nname = "tests.pipeline.test_faults.{name}"\n[output]')
    return make_crawl(folder, files=files, recipe=recipe)


def test_a_stage_that_hangs_ends_its_task_with_the_documents_named(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRTROVE_TEST_HANG", "30")
    started = time.monotonic()
    result = run(with_filter(tmp_path, "Slow"), tmp_path / "out", batch_timeout=0.5)
    assert time.monotonic() - started < 25
    assert result.corpus is None
    said = result.failed[0].error
    assert re.match(
        r"web-000: stage filter:Slow has not answered on \d+ documents, rows \d+-\d+ of the file, keys ", said
    )
    assert said.endswith("for 0.5 s; take them out, or give more time: --batch-timeout")
    assert len(re.findall(r"\b[0-9a-f]{32}\b", said)) == 10
    monkeypatch.delenv("FAIRTROVE_TEST_HANG")
    assert run(tmp_path / "recipe.toml", tmp_path / "out").corpus is not None


def test_a_hang_is_never_taken_for_a_damaged_row(tmp_path, monkeypatch):
    """What catches errors of rows must not catch the alarm: a slow machine would decide otherwise than a fast one."""
    from pipeline import intake

    monkeypatch.setattr(intake, "locate", lambda url: time.sleep(5))
    result = run(make_crawl(tmp_path, files=1), tmp_path / "out", batch_timeout=0.2)
    assert result.corpus is None
    assert "stage intake has not answered on 100 documents, rows 0-99 of the file for 0.2 s" in result.failed[0].error


@pytest.mark.slow
def test_a_worker_that_cannot_even_ring_is_ended_by_the_parent(tmp_path, monkeypatch):
    code = """
import sys, signal
from pathlib import Path
if __name__ == "__main__":
    import pipeline.executors as executors
    from tests.pipeline.crawl import planned
    from pipeline.curate import curate
    executors._GRACE, executors._LOOK_EVERY = 25.0, 0.5
    result = curate(planned(Path(sys.argv[1])), Path(sys.argv[2]), workers=2, batch_timeout=1.0)
    print(*[outcome.error for outcome in result.failed], sorted(result.ran))
"""
    recipe = with_filter(tmp_path, "Stuck", files=2)
    write_parquet(tmp_path / "pages" / "001.parquet", pages(50))
    ended = subprocess.run(
        [sys.executable, "-c", code, str(recipe), str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert "web-000: no sign of life within 1 s; its worker was ended" in ended.stdout, ended.stderr


class Stuck(BaseFilter):
    """Holds on without looking at signals."""

    name = "stuck"

    def filter(self, doc) -> bool:
        import signal

        if late(doc):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
            time.sleep(60)
        return True


def test_a_stage_that_raises_costs_its_task_alone(tmp_path):
    recipe = with_filter(tmp_path, "Breaking", files=2)
    write_parquet(tmp_path / "pages" / "001.parquet", pages(50))  # without the page that it breaks on
    result = run(recipe, tmp_path / "out")
    assert [outcome.error.rpartition(":")[0] for outcome in result.failed] == ["ZeroDivisionError at test_faults.py"]
    assert result.ran == ["web-001"]
    assert not published_versions(tmp_path / "out")


@pytest.mark.slow
def test_a_stage_that_is_killed_for_memory_costs_its_task_alone(tmp_path):
    recipe = with_filter(tmp_path, "Greedy", files=2)
    write_parquet(tmp_path / "pages" / "001.parquet", pages(50))
    command = [sys.executable, "-m", "pipeline.cli", "curate", str(recipe), "--out", str(tmp_path / "out")]
    ended = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "its worker died 2 times (SIGKILL; out of memory? use fewer --workers)" in ended.stderr
    assert "1 of 2 input files failed" in ended.stderr
    assert (tmp_path / "out" / "manifests" / "v0001" / "tasks" / "web-001.json").exists()


@pytest.mark.parametrize("write", [1, 2, 4, 7])
def test_a_full_disk_publishes_nothing_and_is_not_a_row(tmp_path, monkeypatch, write):
    recipe = make_crawl(tmp_path, files=1)
    calm = files_of(run(recipe, tmp_path / "calm").corpus.path)
    real, left = manifests.files.DigestingFile.write, [write]

    def full(self, block):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        return real(self, block)

    with monkeypatch.context() as patch:
        patch.setattr(manifests.files.DigestingFile, "write", full)
        result = run(recipe, tmp_path / "out")
        assert result.corpus is None
        assert "No space left on device" in result.failed[0].error
    assert not list((tmp_path / "out").rglob("*.parquet"))
    assert files_of(run(recipe, tmp_path / "out").corpus.path) == calm


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="mounts a disk of its own: needs root on Linux"
)
def test_a_disk_that_is_really_full_is_an_error_in_one_line(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("may not mount here")
    try:
        recipe = make_crawl(tmp_path, files=3, rows=1500)
        command = [sys.executable, "-m", "pipeline.cli", "curate", str(recipe), "--out", str(disk / "out")]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 1
        assert "No space left on device" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert not published_versions(disk / "out")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="mounts a disk of its own: needs root on Linux"
)
def test_an_output_on_a_read_only_disk_is_an_error_in_one_line(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("may not mount here")
    try:
        with pytest.raises(RunError, match=r"cannot be written: Read-only file system; choose another --out"):
            run(make_crawl(tmp_path, files=1), disk / "out")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


@pytest.mark.parametrize("moment", ["digested", "half"])
@pytest.mark.parametrize("how", ["rewritten", "replaced", "touched back"])
def test_a_file_that_changes_while_it_is_read_publishes_nothing(tmp_path, monkeypatch, moment, how):
    from pipeline import inputs, intake

    recipe = make_crawl(tmp_path, files=1)
    path = tmp_path / "pages" / "000.parquet"
    before = path.stat()

    def change() -> None:
        content = bytearray(path.read_bytes())
        content[200] ^= 1
        if how == "replaced":
            (tmp_path / "new").write_bytes(content)
            os.replace(tmp_path / "new", path)
        else:
            time.sleep(0.02)  # a kernel's clock has ticks
            path.write_bytes(content)
        if how == "touched back":
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    module, name = (inputs, "_digested") if moment == "digested" else (intake.Intake, "_admit_all")
    real = getattr(module, name)

    def changing(*arguments):
        answer = real(*arguments)
        change()
        return answer

    monkeypatch.setattr(module, name, changing)
    result = run(recipe, tmp_path / "out")
    assert result.corpus is None
    assert result.failed[0].error == f"{path}: cannot be read: it changed while it was read"


def test_a_clock_that_jumps_changes_no_byte_and_re_runs_nothing(tmp_path, monkeypatch):
    recipe = make_crawl(tmp_path)
    calm = files_of(run(recipe, tmp_path / "calm").corpus.path)
    real = time.time
    jumps = iter(range(10**6))
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + (-1) ** next(jumps) * 10**8)
        patch.setattr(time, "time_ns", lambda: int(time.time() * 1e9))
        out = run(recipe, tmp_path / "out").corpus
    assert files_of(out.path) == calm
    for path in out.path.rglob("*"):  # as if all had been written in another century
        os.utime(path, (10**9, 10**9))
    assert run(recipe, tmp_path / "out").unchanged


def test_two_runs_on_one_folder_never_meet(tmp_path):
    recipe = make_crawl(tmp_path)
    out = tmp_path / "out"
    with locked(out):
        command = [sys.executable, "-m", "pipeline.cli", "curate", str(recipe), "--out", str(out)]
        second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "another run is writing here" in second.stderr
    assert curate(planned(recipe), out).corpus is not None


def test_the_filters_of_these_tests_load_as_a_recipe_names_them():
    assert stock.load_stock(StockFilter(name="tests.pipeline.test_faults.Slow")).stage == "filter:Slow"
    assert issubclass(SourceError, Exception)
