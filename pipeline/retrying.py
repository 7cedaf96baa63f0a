"""Transfers that are tried again: object stores throttle, answer 5xx and break off as a matter of course.

What an attempt fetched or sent is thrown away whole, so that no file is ever put together from two. What will not get
better (no such file, no permission) is not tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
WAITS = (1.0, 4.0, 16.0, 60.0)
"""Seconds before each further attempt, beside those that the store's own client makes."""
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, MemoryError)


def retried(attempt: Callable[[], Result]) -> Result:
    """What `attempt` returns, tried up to five times; its last error if none succeeds."""
    for wait in WAITS:
        try:
            return attempt()
        except _FINAL:
            raise
        except Exception:  # each file system has its own kinds
            time.sleep(wait)
    return attempt()
