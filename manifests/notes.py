"""What an audit finds, collected under named checks; what the corpus makes us stumble over is a finding, no crash."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from manifests.schema import CorpusError

NAMED_PER_CHECK = 20
"""Violations named per check; the rest is counted. One edited file can make millions."""


@dataclass(frozen=True, slots=True)
class Check:
    """One named check.

    Attributes:
        name: what is checked, in a few words.
        passed: True when nothing was found.
        detail: what was examined when it passed, or why it was skipped; the first violation, and how many more, if not.
        violations: the first `NAMED_PER_CHECK` of them, each naming its file, row or key.
        found: how many there are.
        skipped: True when what it needs is not there, and nothing was examined; `passed` says nothing then.
    """

    name: str
    passed: bool
    detail: str
    violations: tuple[str, ...] = ()
    found: int = 0
    skipped: bool = False


class Notes:
    """Collects violations under the check that is open; checks appear in the order in which they were first opened."""

    def __init__(self) -> None:
        self._examined: dict[str, str] = {}
        self._violations: dict[str, list[str]] = {}
        self._found: dict[str, int] = {}
        self._skipped: dict[str, str] = {}
        self._open: list[str] = []

    @contextlib.contextmanager
    def check(self, name: str, examined: str | None = None) -> Iterator[None]:
        """Open a check, inside which whatever goes wrong is a violation of it."""
        self._violations.setdefault(name, [])
        self._found.setdefault(name, 0)
        if examined is not None:
            self._examined[name] = examined
        self._open.append(name)
        try:
            yield
        except (CorpusError, OSError, pa.ArrowException, duckdb.Error) as error:
            self.add(f"could not be read: {_one_line(error)}")
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            self.add(f"not of the expected form: {type(error).__name__}: {_one_line(error)}")
        finally:
            self._open.pop()

    def add(self, violation: str) -> None:
        """A violation of the open check."""
        name = self._open[-1]
        self._found[name] += 1
        if len(self._violations[name]) < NAMED_PER_CHECK:
            self._violations[name].append(violation)

    def examined(self, text: str) -> None:
        """What the open check looked at."""
        self._examined[self._open[-1]] = text

    def skip(self, name: str, reason: str) -> None:
        """Say that a check is not made, and why."""
        self._violations.setdefault(name, [])
        self._found.setdefault(name, 0)
        self._skipped[name] = reason

    def checks(self) -> tuple[Check, ...]:
        """All checks, in order."""
        checks = []
        for name, violations in self._violations.items():
            found = self._found[name]
            more = f" (and {found - 1:,} more)" if found > 1 else ""
            detail = violations[0] + more if violations else self._skipped.get(name) or self._examined.get(name, "")
            skipped = name in self._skipped and not found
            checks.append(Check(name, not found, detail, tuple(violations), found, skipped))
        return tuple(checks)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
