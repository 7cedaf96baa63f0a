"""Parquet: rows of those columns that the recipe names, as many as the footer counts.

What Python or Arrow cannot make of one value costs that value or its row; damage in a page costs the rest of its row
group, row by row, under `undecodable`. A file without a whole footer fails as a whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.schema import Reason
from pipeline.inputs import InputFile, SourceError, expect_damage, first_line
from pipeline.recipe import Columns, Source
from pipeline.rows import BATCH_ROWS, Row

_MOST_ROWS = 10_000_000  # of a file that has fewer bytes: a footer can announce any number


class ParquetReader:
    """Rows of a Parquet file, of those columns that the recipe names; the footer counts them."""

    def __init__(self, path: Path, file: InputFile, source: Source, limit: int | None):
        self._location = file.location
        self._bytes = path.stat().st_size
        try:
            self._file = pq.ParquetFile(path, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            expect_damage(error, file.location)
            raise SourceError(
                f"{file.location}: not a whole Parquet file ({first_line(error)}); fetch it again"
            ) from error
        try:
            self._wanted = _wanted_columns(self._file.schema_arrow, file, source.columns)
            self.rows_ahead = self._rows_within(limit)
        except BaseException:
            self.close()
            raise

    def _rows_within(self, limit: int | None) -> int:
        metadata = self._file.metadata
        held = sum(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        if held != metadata.num_rows:
            raise SourceError(
                f"{self._location}: its footer says {metadata.num_rows} rows, its row groups {held}; write it anew"
            )
        if held > max(_MOST_ROWS, self._bytes):
            raise SourceError(
                f"{self._location}: its footer says {held:,} rows in {self._bytes:,} bytes; no file of texts is like it"
            )
        return held if limit is None else min(limit, held)

    def batches(self) -> Iterator[list[Row]]:
        first = 0
        for group in range(self._file.num_row_groups):
            rows = min(self._file.metadata.row_group(group).num_rows, self.rows_ahead - first)
            if rows <= 0:
                break
            yield from _read_row_group(self._file, group, self._wanted, first, rows, self._location)
            first += rows

    def rows_in_file(self) -> int:
        return self.rows_ahead

    def close(self) -> None:
        self._file.close()


def _wanted_columns(schema: pa.Schema, file: InputFile, columns: Columns) -> dict[str, str]:
    """The columns to read, by field: those that the recipe names must be there, a default may be absent but `text`."""
    wanted = {}
    for field, column in columns.model_dump().items():
        place = _place(schema, column)
        if place is not None:
            wanted[field] = column
            if schema.names.count(place[0]) > 1:
                raise SourceError(f"{file.location}: two columns are named `{place[0]}`; rename one of them")
        elif field == "text" or field in columns.model_fields_set:
            raise SourceError(
                f"{file.location}: no column `{column}`, only {', '.join(sorted(schema.names))}; "
                f"name the {field} column in source.{file.source}.columns.{field}"
            )
    return wanted


def _place(schema: pa.Schema | pa.StructType, name: str) -> list[str] | None:
    """Where a column lies: under its exact name, or by a dotted name in a struct column; None where it is not."""
    if name in [schema.field(position).name for position in range(_width(schema))]:
        return [name]
    outer, dot, inner = name.partition(".")
    position = schema.get_field_index(outer) if dot else -1
    if position < 0 or not pa.types.is_struct(schema.field(position).type):
        return None
    deeper = _place(schema.field(position).type, inner)
    return None if deeper is None else [outer, *deeper]


def _width(schema: pa.Schema | pa.StructType) -> int:
    return len(schema.names) if isinstance(schema, pa.Schema) else schema.num_fields


def _read_row_group(
    file: pq.ParquetFile, group: int, wanted: Mapping[str, str], first: int, rows: int, location: str
) -> Iterator[list[Row]]:
    done = 0
    try:
        columns = list(dict.fromkeys(wanted.values()))
        batches = file.iter_batches(BATCH_ROWS, [group], columns, use_threads=False)
        for batch in batches:
            batch = batch.slice(0, rows - done)
            if not len(batch):
                break
            yield _rows_of(batch, wanted, first + done)
            done += len(batch)
    except (pa.ArrowException, OSError) as error:
        # The bytes are here and digested, so this is damage in the file: the rest of the group is accounted below.
        expect_damage(error, location)
    for start in range(done, rows, BATCH_ROWS):
        yield [Row(first + row, problem=Reason.UNDECODABLE) for row in range(start, min(start + BATCH_ROWS, rows))]


def _rows_of(batch: pa.RecordBatch, wanted: Mapping[str, str], first: int) -> list[Row]:
    columns = {field: _column(batch, column) for field, column in wanted.items()}
    values: dict[str, Iterable[Any]] = {field: _values(column) for field, column in columns.items()}
    values["utf8"] = _slices(columns["text"]) or repeat(None)
    given = [values.get(field, repeat(None)) for field in _FIELDS]
    return list(map(Row, range(first, first + len(batch)), *given))


_FIELDS = [field.name for field in dataclasses.fields(Row)][1:]


def _slices(text: pa.Array) -> list[memoryview] | None:
    """Each value's bytes in the column's own memory; None for a column that is not one of strings."""
    offset_type = {pa.string(): np.int32, pa.large_string(): np.int64}.get(text.type)
    _, offsets, data = text.buffers() if offset_type else (None, None, None)
    if offsets is None or data is None:
        return None
    ends = np.frombuffer(offsets, offset_type)[text.offset : text.offset + len(text) + 1].tolist()
    content = memoryview(data)
    return [content[start:end] for start, end in pairwise(ends)]


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    place = _place(batch.schema, name)
    assert place is not None, name  # `_wanted_columns` saw it in the file's schema
    column = batch.column(place[0])
    for field in place[1:]:
        column = pc.struct_field(column, field)
    return column


def _values(column: pa.Array) -> list[Any]:
    """A column's values; one at a time where there are some that Python cannot hold."""
    try:
        return column.to_pylist()
    except (MemoryError, OSError):
        raise
    except Exception:
        return [_value(item) for item in column]


def _value(item: pa.Scalar) -> Any:
    """A value; bytes for a string that is not UTF-8, a date beyond Python's years or finer than its clock as Arrow
    writes it, None for what Arrow cannot write either."""
    try:
        return item.as_py()
    except (MemoryError, OSError):
        raise
    except UnicodeDecodeError:
        with contextlib.suppress(AttributeError):  # a list of strings has no bytes of its own
            return (item.value if isinstance(item, pa.DictionaryScalar) else item).as_buffer().to_pybytes()
    except Exception:
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
            written = item.cast(pa.string()).as_py()
            return None if written.startswith("<") else written  # "<value out of range: …>"
    return None
