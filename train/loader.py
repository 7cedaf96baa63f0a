"""Batches ahead of time, so that a step never waits for its data.

One thread computes the batches of the next steps while the current one runs: numpy lets go of the interpreter in its
copies, and a batch costs a thousandth of a step. It makes what it was asked for in order, so nothing depends on its
pace; an error of it is raised by the step that would have used the batch. Measured: `tests/bench/bench_data.py`.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Prefetcher(Generic[Item]):
    """`make(first)`, `make(first + 1)`, …, `make(end - 1)`, up to `depth` of them computed ahead.

    A context manager: leaving it ends the thread.
    """

    def __init__(self, make: Callable[[int], Item], first: int, end: int, depth: int = 3):
        self._made: queue.Queue[Item | BaseException] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(make, first, end), daemon=True, name="prefetch")
        self._thread.start()

    def take(self) -> Item:
        """The next batch; waits only if it is not ready."""
        item = self._made.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """End the thread; batches that were made and not taken are lost, which costs nothing."""
        self._stopped.set()
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                self._made.get(timeout=0.01)

    def __enter__(self) -> Prefetcher[Item]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fill(self, make: Callable[[int], Item], first: int, end: int) -> None:
        for number in range(first, end):
            if self._stopped.is_set():
                return
            try:
                item: Item | BaseException = make(number)
            except BaseException as error:  # whatever it is, the step that wanted the batch says it
                item = error
            self._made.put(item)
            if isinstance(item, BaseException):
                return
