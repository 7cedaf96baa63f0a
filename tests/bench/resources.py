"""What a program takes: CPU seconds of it and all its descendants, and the peak memory of the largest of them.

The kernel adds a process's time to whoever waits for it, so the time of a descendant that outlives its parent (a fork
server and its workers) is lost to `getrusage`. Here a small launcher, this file, has itself made the heir of all such
orphans and waits for each. Being small matters too: a child's peak memory starts at that of the process it came from.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ORPHANS_SECONDS = 30.0  # how long descendants may outlive the program before they are left uncounted
SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@dataclass(frozen=True)
class Usage:
    """Exit status (negative: the signal that ended it), user plus system time, peak resident set, output."""

    status: int
    cpu_seconds: float
    peak_rss_mb: float
    output: str


def usage(command: Sequence[str], folder: Path) -> Usage:
    """Run a command in `folder` to its end and measure it."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "usage.json"
        launcher = [sys.executable, "-S", __file__, str(report), *command]
        ended = subprocess.run(launcher, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return Usage(**json.loads(report.read_text()), output=ended.stdout.decode("utf-8", "replace"))


def _launch(report: Path, command: Sequence[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    program = subprocess.Popen(command)
    _, status, taken = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)  # so that Popen does not wait for it again
    seconds, peak_kb = taken.ru_utime + taken.ru_stime, taken.ru_maxrss
    deadline = time.monotonic() + ORPHANS_SECONDS
    while time.monotonic() < deadline:
        try:
            pid, _, taken = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid:
            seconds += taken.ru_utime + taken.ru_stime
            peak_kb = max(peak_kb, taken.ru_maxrss)
        else:
            time.sleep(0.05)
    content = {"status": program.returncode, "cpu_seconds": seconds, "peak_rss_mb": peak_kb * 1024 / 1e6}
    report.write_text(json.dumps(content))


if __name__ == "__main__":
    _launch(Path(sys.argv[1]), sys.argv[2:])
