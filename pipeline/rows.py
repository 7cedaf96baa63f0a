"""A row of an input file before it is a document, and what a reader of files owes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from manifests.schema import Reason

BATCH_ROWS = 512


@dataclass(slots=True)
class Row:
    """One row of an input file before it is a document.

    `utf8`: the text's bytes where the reader has them, so that neither its length nor its digest need it encoded.
    `problem` set: it cannot become one.
    """

    file_row: int
    text: Any = None
    id: Any = None
    url: Any = None
    dump: Any = None
    date: Any = None
    language: Any = None
    language_script: Any = None
    language_score: Any = None
    license: Any = None
    license_file: Any = None
    extra: dict[str, Any] | None = None
    utf8: memoryview | None = None
    problem: Reason | None = None


class Reader(Protocol):
    """One file being read.

    Attributes:
        rows_ahead: the number of rows where the file tells before it is read.
    """

    @property
    def rows_ahead(self) -> int | None: ...

    def batches(self) -> Iterator[list[Row]]: ...

    def rows_in_file(self) -> int:
        """Rows by the file's own account, within the limit; reads what `batches` left unread."""

    def close(self) -> None: ...


def expect_shallow(value: Any) -> None:
    """Refuse what is nested deeper than any data is: whether Python can print it would depend on who calls."""
    level = [value]
    for _ in range(_MAX_NESTING):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, list | dict)
        ]
        if not level:
            return
    raise ValueError(f"nested more than {_MAX_NESTING} levels deep")


_MAX_NESTING = 100
