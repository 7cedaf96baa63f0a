"""Builds the index of licence texts: `python -m filters.models.build_license_index TEXTS`.

TEXTS is a Parquet file with `spdx_id`, `text`, `header`, `osi`, `deprecated`, `is_exception`, or the folder
`json/details` of a release of SPDX's license-list-data. Writes `license_index.npz` and the measured part of
`license_index.md`; the same texts give the same bytes. Twenty CPU seconds at most.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from filters.license_index import KEPT_RUNS, RUN, pairs_by_hash, run_hashes, sample

HERE = Path(__file__).parent
CARD = HERE / "license_index.md"
INDEX = HERE / "license_index.npz"
MARK = "<!-- measured -->"
MIN_RUNS = 12  # shorter texts ("as is", a single sentence) are found in anything
# Which id a text has that several share. The GNU texts do not say "or later": notices do.
_COPYRIGHT = re.compile(r"^.*(?:copyright (?:\(c\)|©|\[|<|\d|year)|\(c\) copyright).*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Licence:
    spdx_id: str
    text: str
    header: str
    osi: bool


def main() -> None:
    """Read the texts, write the index and its card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    arguments = parser.parse_args()
    licences = _read(arguments.texts)
    entries = _entries(licences)
    samples, levels = zip(*(sample(run_hashes(text)) for _, text, _, _ in entries), strict=True)
    hashes, numbers = pairs_by_hash(list(samples))
    np.savez_compressed(
        INDEX,
        hash_steps=np.diff(hashes, prepend=0).astype(np.uint32),
        entries=numbers.astype(np.uint16),
        levels=np.array(levels, dtype=np.uint8),
        words=np.array([len(run_hashes(text)) + RUN - 1 for _, text, _, _ in entries], dtype=np.uint32),
        notices=np.array([notice for _, _, notice, _ in entries]),
        preferred=np.array([osi for _, _, _, osi in entries]),
        ids=np.array([spdx_id for spdx_id, _, _, _ in entries]),
    )
    texts = hashlib.sha256("\0".join(f"{entry[0]}\0{entry[1]}" for entry in entries).encode()).hexdigest()
    measured = (
        f"{len(entries)} texts ({sum(notice for _, _, notice, _ in entries)} of them notices) of "
        f"{len(licences)} licences, {len(hashes):,} runs, at most {KEPT_RUNS} of a text, "
        f"{INDEX.stat().st_size:,} bytes.\n\n"
        f"- `license_index.npz`: SHA-256 `{hashlib.sha256(INDEX.read_bytes()).hexdigest()}`\n"
        f"- texts (id and text of each, in the index's order): SHA-256 `{texts}`\n"
    )
    card = CARD.read_text(encoding="utf-8").split(MARK)
    CARD.write_text(f"{card[0]}{MARK}\n{measured}{MARK}{card[2]}", encoding="utf-8")
    print(measured)


def _read(source: Path) -> list[Licence]:
    if source.is_dir():
        details = (json.loads(file.read_text(encoding="utf-8")) for file in sorted(source.glob("*.json")))
        rows = [
            {
                "spdx_id": row["licenseId"], "text": row["licenseText"], "header": row.get("standardLicenseHeader"),
                "osi": row.get("isOsiApproved"), "deprecated": row.get("isDeprecatedLicenseId"), "is_exception": False,
            }
            for row in details if "licenseId" in row
        ]  # fmt: skip
    else:
        rows = pq.read_table(source).to_pylist()
    kept = [row for row in rows if not row["is_exception"] and row["text"]]
    kept.sort(key=lambda row: (bool(row["deprecated"]), _order(row["spdx_id"]), row["spdx_id"]))
    return [Licence(row["spdx_id"], row["text"], row["header"] or "", bool(row["osi"])) for row in kept]


def _order(spdx_id: str) -> int:
    return 0 if spdx_id.endswith("-only") else 1


def _entries(licences: list[Licence]) -> list[tuple[str, str, bool, bool]]:
    """Id, text, whether it is a notice, whether OSI approves; each text once."""
    seen: set[bytes] = set()
    entries = []
    for licence in licences:
        gnu = re.match(r"(?:A|L)?GPL-|GFDL-", licence.spdx_id)
        for text, notice in ((licence.text, False), (licence.header, True)):
            if notice and (gnu or licence.spdx_id.startswith("CC-") or licence.header in licence.text[:2000]):
                continue  # GNU notices say which versions, and are read for it
            text = _COPYRIGHT.sub("", text)
            runs = run_hashes(text)
            if len(runs) < MIN_RUNS or runs.tobytes() in seen:
                continue
            seen.add(runs.tobytes())
            entries.append((licence.spdx_id, text, notice, licence.osi))
    return entries


if __name__ == "__main__":
    main()
