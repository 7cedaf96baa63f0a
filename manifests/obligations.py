"""What the licences of kept documents ask of whoever publishes or uses the corpus: an attribution list, a partition.

The licence of a document travels with it as an SPDX expression, in the shard and in the manifest. Two obligations
follow from it that a publisher must act on, and for both `fairtrove report` writes a table beside the page:

- `attribution.parquet`: every document whose licence asks that its author or its notice be named (CC-BY and the like:
  `attribution`; MIT, BSD, Apache and the like: `notice`), with its URL, which is what the licence's "reasonable
  manner" can rest on where an extracted text no longer names its author.
- `share-alike.parquet`: every document whose licence binds what is made from it (CC-BY-SA, GFDL, GPL, ODbL, ...), by
  licence: that part of the corpus is to be published under those terms, or set aside.

"None found" is in neither: nothing is known of what such a document asks. Documents whose licence is a choice (`MIT OR
GPL-2.0-only`) count under the arm that asks least. One pass over four columns of the shards, a row group at a time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from license_expression import ExpressionError, Licensing, get_spdx_licensing

from manifests.corpus import Corpus
from manifests.schema import CorpusError


class Obligation(StrEnum):
    """What a licence asks in return."""

    ATTRIBUTION = "attribution"
    NOTICE = "notice"
    SHARE_ALIKE = "share_alike"


ATTRIBUTION = pa.schema(
    [
        pa.field("license", pa.string(), nullable=False),
        pa.field("obligation", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("id", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("shard_row", pa.int32(), nullable=False),
    ]
)
SHARE_ALIKE = pa.schema([field for field in ATTRIBUTION if field.name != "obligation"])

_UNCONDITIONAL = re.compile(
    r"CC0-|CC-PD|PDDL-|Unlicense|0BSD\Z|MIT-0\Z|LicenseRef-public-domain\Z|DL-DE-ZERO|WTFPL|blessing\Z|NIST-PD|NCBI-PD|SAX-PD"
)
_ATTRIBUTION = re.compile(r"CC-BY|OGL-|OGDL-|etalab-|DL-DE-BY|NLOD-|ODC-By|ODbL-|CDLA-|GFDL-|C-UDA|LAL-")
_SHARE_ALIKE = re.compile(
    r"CC-(?:BY-)?(?:NC-)?SA\b|[AL]?GPL-|GFDL-|ODbL-|CDLA-Sharing|MPL-|EPL-|CDDL-|OSL-|EUPL-|CECILL-(?:1|2|C)|LAL-|CPL-|"
    r"CPAL-|SSPL-|QPL-|IPL-|APSL-|NPL-|RPL-|SPL-|Sleepycat|copyleft-next|Parity-|OFL-|LPPL-1\.[0-2]|MS-RL|Artistic-1|"
    r"CERN-OHL-[SW]|NPOSL-|YPL-|Vim\Z|wxWindows"
)


@lru_cache(maxsize=4096)
def obligations(expression: str) -> frozenset[Obligation]:
    """What an SPDX expression asks: AND all of its parts, OR the part that asks least, WITH what stands before it.

    An expression that cannot be read asks for notice: whoever wrote it named a licence.
    """
    try:
        parsed = _licensing().parse(expression)
    except ExpressionError:
        return frozenset({Obligation.NOTICE})
    return _of(parsed) if parsed is not None else frozenset()


def write_obligations(corpus: Corpus, folder: Path) -> list[Path]:
    """Write `attribution.parquet` and `share-alike.parquet` to `folder`, whole or not at all, and return their paths.

    The same corpus gives the same bytes. Writes nothing when the shards of this version were removed.

    Raises:
        CorpusError: a shard cannot be read.
    """
    if not all(shard.path.exists() for shard in corpus.shards):
        return []
    paths = [folder / "attribution.parquet", folder / "share-alike.parquet"]
    temporary = [path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in paths]
    try:
        with (
            pq.ParquetWriter(temporary[0], ATTRIBUTION) as named,
            pq.ParquetWriter(temporary[1], SHARE_ALIKE) as shared,
        ):
            for table in _licensed(corpus):
                asked = [obligations(expression) for expression in table["license"].to_pylist()]
                _append(named, table, [_named(found) for found in asked])
                _append(
                    shared,
                    table,
                    [Obligation.SHARE_ALIKE if Obligation.SHARE_ALIKE in found else None for found in asked],
                )
        for made, path in zip(temporary, paths, strict=True):
            os.replace(made, path)
    finally:
        for made in temporary:
            made.unlink(missing_ok=True)
    return paths


def _licensed(corpus: Corpus) -> Iterator[pa.Table]:
    """Documents with a licence, a row group at a time, in the order of the shards."""
    columns = ["license", "url", "id", "source"]
    for shard in corpus.shards:
        try:
            with pq.ParquetFile(shard.path) as file:
                row = 0
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns=columns)
                    numbers = pa.array(range(row, row + len(table)), pa.int32())
                    row += len(table)
                    table = table.append_column("shard_row", numbers)
                    table = table.append_column("shard", pa.array([shard.name] * len(table), pa.string()))
                    table = table.filter(pc.is_valid(table["license"]))
                    if len(table):
                        yield table
        except (OSError, pa.ArrowException) as error:
            raise CorpusError(
                f"{shard.path}: cannot be read ({error}); `fairtrove audit` says what is wrong"
            ) from error


def _append(writer: pq.ParquetWriter, table: pa.Table, asked: list[Obligation | None]) -> None:
    kept = table.append_column("obligation", pa.array(asked, pa.string()))
    kept = kept.filter(pc.is_valid(kept["obligation"])).select(writer.schema.names)
    if len(kept):
        writer.write_table(kept.cast(writer.schema))


def _named(asked: frozenset[Obligation]) -> Obligation | None:
    return next((found for found in (Obligation.ATTRIBUTION, Obligation.NOTICE) if found in asked), None)


def _of(node: Any) -> frozenset[Obligation]:
    if hasattr(node, "license_symbol"):
        return _of(node.license_symbol)
    if hasattr(node, "key"):
        return _of_id(str(node.key))
    parts = [_of(part) for part in node.args]
    if node.operator.strip() == "OR":
        return min(parts, key=lambda part: (Obligation.SHARE_ALIKE in part, len(part), sorted(part)))
    return frozenset().union(*parts)


def _of_id(spdx_id: str) -> frozenset[Obligation]:
    if _UNCONDITIONAL.match(spdx_id):
        return frozenset()
    found = {Obligation.ATTRIBUTION if _ATTRIBUTION.match(spdx_id) else Obligation.NOTICE}
    if _SHARE_ALIKE.match(spdx_id):
        found.add(Obligation.SHARE_ALIKE)
    return frozenset(found)


@cache
def _licensing() -> Licensing:
    return get_spdx_licensing()  # builds an index, 0.1 s each time
