"""A limit on how long one batch may take: a stage that hangs ends its task, with the documents named.

The kernel's timer is set anew whenever a stage has answered. When it rings, the frames of this thread say which stage
has which documents in hand, so watching costs nothing while all is well. It rings between two bytecodes, and inside
`re`, which looks for signals; code that holds the interpreter longer than that is ended from outside, by the parent.
The exception is no `Exception`: what a row may cost is caught as one, and a hang must never pass for a damaged row.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from manifests.schema import FairtroveError

BATCH_SECONDS = 3600.0
"""An encoder on a CPU takes half an hour for a batch of long texts; everything else a second."""
NAMED = 10


class StageTimeout(FairtroveError):
    """A stage did not answer in time; the message names its documents."""


class _Rings(BaseException):
    """Carries the message past everything that catches errors of a row."""


@contextlib.contextmanager
def alarm(task: str, seconds: float) -> Iterator[Callable[[], None]]:
    """Yields a function to call at each sign of life. Outside the main thread, or with no limit, nothing is watched.

    Raises:
        StageTimeout: there was none for `seconds`.
    """
    if seconds <= 0 or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise _Rings(f"{task}: {_at_work(frame)} for {seconds:g} s; take them out, or give more time: --batch-timeout")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield lambda: signal.setitimer(signal.ITIMER_REAL, seconds) and None
    except _Rings as rings:
        raise StageTimeout(str(rings)) from rings
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _at_work(frame: FrameType | None) -> str:
    """Which stage has which documents in hand."""
    while frame is not None:
        owner, batch = frame.f_locals.get("self"), frame.f_locals.get("batch")
        stage = getattr(owner, "stage", None)
        if isinstance(stage, str) and isinstance(batch, list) and batch:
            return f"stage {stage} has not answered on {_named(batch)}"
        frame = frame.f_back
    return "reader or writer gave no sign of life"


def _named(batch: list[Any]) -> str:
    known = [getattr(document, "entry", document) for document in batch]  # rows that are no documents yet have no key
    rows = [entry.file_row for entry in known if hasattr(entry, "file_row")]
    keys = [entry.key.hex() for entry in known if hasattr(entry, "key")]
    parts = [f"{len(batch)} documents"]
    if rows:
        parts.append(f"rows {min(rows)}-{max(rows)} of the file")
    if keys:
        parts.append("keys " + ", ".join(keys[:NAMED]) + (", …" if len(keys) > NAMED else ""))
    return ", ".join(parts)
