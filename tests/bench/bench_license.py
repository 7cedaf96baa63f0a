"""Licence: every bar of the stage in one run, each beside a peer or its limit.

    python -m tests.bench.bench_license [--shards 3]

Quality is on the development data, against keyword matching in the same run (a page is under the licence that it names
first); it was tuned against that data, so other packages will do worse: `by source` holds each kind apart. Speed is CPU
time, best of three, beside the regular expression that the Common Crawl tagger of Creative Commons pages uses on the
same pages (`re`, one alternation), and the worst of some fifty hostile texts of 100 kB beside the limit of 50 ms.
"""

from __future__ import annotations

import argparse
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from filters.license import detect
from filters.license_gate import may_hold_a_mark
from filters.license_policy import canonical, permissive

KEYWORDS = (
    (re.compile(r"creativecommons\.org/licenses/(by[a-z-]*)/(\d\.\d)|\bCC[ -](BY[A-Z-]*)[ -](\d\.\d)", re.I), None),
    (re.compile(r"\bMIT\b"), "MIT"),
    (re.compile(r"\bApache\b"), "Apache-2.0"),
    (re.compile(r"\bBSD\b"), "BSD-3-Clause"),
    (re.compile(r"\bA?L?GPL\b|General Public License"), "GPL-2.0-or-later"),
)
# As published taggers do it: one expression over the page for links to a Creative Commons licence.
PEER = re.compile(r"creativecommons\.org/(?:licenses|publicdomain)/([a-z-]+)/?(\d\.\d)?", re.IGNORECASE)
HOSTILE = [
    "<a ", '<a href="', "<!--license", "<script>license", "license ", "CC BY ", "under the ", "released under the x ",
    "<a href='https://creativecommons.org/licenses/by/4.0/'>CC</a>", "CC BY 4.0\n", "train AI ", "(", "[", "License: ",
    "## License\n", "licensed under the (", "dual licensed under ", "\r\n", "A\nLicense\n---\n", "// ", " \n",
    "GNU General Public License ", "under the terms of the GNU GPL version 2 ", "Redistribution and use in source ",
    "Permission is hereby granted, free of charge, to any person obtaining a copy of this software ",
    "&amp;&lt;license", "<div class='footer'>", "<figure>", "</div>", "<p>license</p>", "released under MIT and ",
    "[license](", "license]( ", "***", "copyright (c) 2020 ", "http://a/license ", "©",
    "all rights reserved ", "data mining ", "<pre>license\n",
    "license\xa0", "許可 ", "not ", " commercial ", "<meta name='license' content='x'>", '{"license": ',
    "---\nlicense: ", "SPDX-License-Identifier: MIT OR ", "released.under.", "lic\n\nlicense\n\n",
]  # fmt: skip


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--shards", type=int, default=3, help="files of corpus pages to read")
    arguments = parser.parse_args()
    quality(pq.read_table(arguments.data / "license/dev.parquet").to_pylist())
    files = sorted((arguments.data / "corpus/pages").glob("*.parquet"))[: arguments.shards]
    texts = [text for file in files for text in pq.read_table(file, columns=["text"])["text"].to_pylist() if text]
    speed(texts)
    worst()


def quality(rows: Sequence[dict]) -> None:
    """Print false-permissive, recall and top-1 of ours and of keyword matching, by kind."""
    kinds = sorted({row["kind"] for row in rows})
    print(f"{'':14}{'rows':>6}  {'false-permissive':>24}  {'permissive recall':>20}  {'SPDX id right':>16}")
    for kind in [*kinds, "all"]:
        chosen = [row for row in rows if kind in ("all", row["kind"])]
        ours = measured(chosen, lambda row: detect(row["kind"], row["content"], row["url"]))
        peer = measured(chosen, keyword)
        cells = "".join(f"  {mine:>9.2%} ({theirs:.2%})" for mine, theirs in zip(ours, peer, strict=True))
        print(f"{kind:14}{len(chosen):>6}{cells}")
    print("in brackets: keyword matching; bars: 0.5 %, 92 %, 88 %")


def measured(
    rows: Sequence[dict], answer: Callable[[dict], tuple[str | None, bool | None]]
) -> tuple[float, float, float]:
    """False-permissive, permissive recall, share of right ids."""
    counts: Counter[str] = Counter()
    for row in rows:
        spdx, verdict = answer(row)
        expected = {unported(name) for name in [row["spdx"], *row["spdx_alt"]]}
        if row["in_permissive_metric"]:
            counts["rows"] += 1
            counts["permissive"] += bool(row["permissive"])
            counts["recalled"] += bool(row["permissive"] and verdict)
            counts["false"] += bool(verdict and not row["permissive"])
        counts["labelled"] += row["spdx"] is not None
        counts["right"] += row["spdx"] is not None and unported(spdx) in expected
    return (
        counts["false"] / max(1, counts["rows"]),
        counts["recalled"] / max(1, counts["permissive"]),
        counts["right"] / max(1, counts["labelled"]),
    )


def keyword(row: dict) -> tuple[str | None, bool | None]:
    """The first licence that the content names."""
    for pattern, spdx_id in KEYWORDS:
        if found := pattern.search(row["content"]):
            groups = [group for group in found.groups() if group]
            name = spdx_id or f"CC-{groups[0].upper().strip('-')}-{groups[1]}"
            return name, permissive(name)
    return None, None


def unported(expression: str | None) -> str | None:
    """The data's scorer takes the unported id of a Creative Commons licence as equal."""
    return re.sub(r"(CC-BY[A-Z-]*-\d\.\d)-[A-Z]+", r"\1", canonical(expression)) if expression else None


def speed(texts: Sequence[str]) -> None:
    """Print CPU milliseconds per MB of ours and of a peer, with and without a licence word."""
    with_word = [text for text in texts if may_hold_a_mark(text)]
    without = [text for text in texts if not may_hold_a_mark(text)]
    for name, chosen, bar in (("all pages", texts, "at most 8 ms/MB"), ("without a licence word", without, "100 MB/s"),
                              ("with one", with_word, "5 MB/s")):  # fmt: skip
        megabytes = sum(len(text.encode()) for text in chosen) / 1e6
        ours = best(lambda chosen=chosen: [detect("web", text, None) for text in chosen])
        peer = best(lambda chosen=chosen: [PEER.search(text) for text in chosen])
        print(
            f"{name:24}{megabytes:6.1f} MB: {1e3 * ours / megabytes:6.2f} ms/MB, {megabytes / ours:5.0f} MB/s; "
            f"the tagger's expression {megabytes / peer:5.0f} MB/s, ratio {peer / ours:.2f} (bar: {bar})"
        )


def worst() -> None:
    """Print the dearest 100 kB."""
    dearest = max(
        (best(lambda kind=kind, text=text: detect(kind, text, None), 2), kind, unit)
        for unit in HOSTILE
        for text in [(unit * 100_000)[:99_990] + " license"]
        for kind in ("web", "html", "markdown", "source", "license_text", "metadata")
    )
    share = dearest[0] / 0.05
    print(f"worst 100 kB: {1e3 * dearest[0]:.0f} ms ({dearest[1]} of {dearest[2]!r}), limit 50 ms, {share:.2f} of it")


def best(run: Callable[[], object], rounds: int = 3) -> float:
    """Least CPU seconds of some rounds."""
    taken = []
    for _ in range(rounds):
        started = time.process_time()
        run()
        taken.append(time.process_time() - started)
    return min(taken)


if __name__ == "__main__":
    main()
