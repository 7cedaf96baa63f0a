"""Processes that die at a chosen moment, for the tests of executor, runs and retractions."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pipeline.executors
from pipeline.executors import Outcome
from pipeline.task import Job

_work = pipeline.executors._work
_attempt = pipeline.executors._attempt


def work(pipe: Any, watched: Any) -> None:
    """Dies at the first task of the first worker that gets here, once."""
    pipeline.executors._attempt = _die_once
    _work(pipe, watched)


def work_but_die_on_001(pipe: Any, watched: Any) -> None:
    """Dies at each attempt of one task."""
    pipeline.executors._attempt = _die_on_001
    _work(pipe, watched)


def _die_once(job: Job, progress: Any) -> Outcome:
    marker = Path(os.environ["FAIRTROVE_TEST_MARKER"])
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return _attempt(job, progress)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def _die_on_001(job: Job, progress: Any) -> Outcome:
    if job.file.task.endswith("001"):
        os.kill(os.getpid(), signal.SIGKILL)
    return _attempt(job, progress)


def die_at_rename(count: int, after: bool) -> None:
    """From here on this process ends, without any clean-up, at its `count`-th rename."""
    replace = os.replace
    seen = 0

    def dying(source: Any, target: Any, **options: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == count and not after:
            os._exit(9)
        replace(source, target, **options)
        if seen == count:
            os._exit(9)

    os.replace = dying
