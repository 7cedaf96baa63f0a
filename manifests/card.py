"""The card of a corpus on the Hugging Face Hub: a README.md with the YAML head that the Hub reads.

With a configuration for each language where the shards are partitioned by it, else one for everything. `license:` of
the head is for the collection; it is `other` unless the profile says which, and never stands for the documents, whose
own licences are a column.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from manifests.eu_summary import plain, size_of
from manifests.facts import Facts

_SIZES: tuple[tuple[int, str], ...] = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"))
_SIZES += ((10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_SIZES += ((10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"), (10**11, "10B<n<100B"))
_LANGUAGES_SHOWN = 200


def card(facts: Facts, profile: Mapping[str, Any] | None = None) -> str:
    """The README.md of the corpus.

    Args:
        profile: table `dataset` may give `license`, `license_link`, `title` and `cite_as`.
    """
    given = (profile or {}).get("dataset")
    own: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    return f"---\n{_head(facts, own)}---\n\n{_body(facts, own)}"


def _head(facts: Facts, own: Mapping[str, Any]) -> str:
    kept = facts.totals["kept"]
    size = next((name for least, name in _SIZES if kept < least), "n>1T" if kept >= 10**12 else "100B<n<1T")
    codes = sorted({label.split("_")[0] for label, _, _ in facts.languages} - {"und"})
    lines = [f"pretty_name: {_yaml(str(own.get('title') or facts.name))}"]
    if own.get("license"):
        lines.append(f"license: {_yaml(str(own['license']))}")
    else:
        lines += ["license: other", "license_name: see-column-license"]
    if own.get("license_link"):
        lines.append(f"license_link: {_yaml(str(own['license_link']))}")
    lines += ["task_categories:", "- text-generation", "size_categories:", f"- {_yaml(size)}"]
    if codes:
        lines += ["language:", *(f"- {code}" for code in codes)]
    lines += ["configs:", "- config_name: default", "  default: true", "  data_files:", "  - split: train"]
    lines.append(f"    path: {_yaml('shards/**/*.parquet' if _partitions(facts) else 'shards/*.parquet')}")
    for label in _partitions(facts):
        lines += [f"- config_name: {_yaml(label)}", "  data_files:", "  - split: train"]
        lines.append(f"    path: {_yaml(f'shards/{label}/*.parquet')}")
    return "\n".join(lines) + "\n"


def _partitions(facts: Facts) -> list[str]:
    return sorted({shard.language for shard in facts.corpus.shards if shard.language})


def _body(facts: Facts, own: Mapping[str, Any]) -> str:
    totals = facts.totals
    consent = facts.consent
    unknown = sum(consent.get(reason, 0) for reason in ("host_unknown", "fetch_error", "parse_error", "no_url"))
    rows = [
        [f"`{stage}`", f"`{reason}`", f"{number:,}", size_of(size)] for stage, reason, number, size in facts.exclusions
    ]
    languages = [[label, f"{number:,}", size_of(size)] for label, number, size in facts.languages[:_LANGUAGES_SHOWN]]
    sources = [
        [plain(source.name), source.kind, f"{source.read:,}", f"{source.kept:,}", size_of(source.kept_bytes)]
        for source in facts.sources
    ]
    more = len(facts.languages) - _LANGUAGES_SHOWN
    parts = [
        f"# {plain(str(own.get('title') or facts.name))}",
        f"Version {facts.corpus.version}, Merkle root `{facts.corpus.root}`.",
        f"**{totals['rows']:,}** documents read = **{totals['kept']:,}** kept + **{totals['excluded']:,}** excluded; "
        f"{size_of(totals['text_bytes_kept'])} of text are kept. Each document that stays, and each that goes, is on "
        "record in `manifests/`: stage, reason, and the evidence that it rests on.",
        "## Sources",
        _table(["Source", "Kind", "Read", "Kept", "Text kept"], sources),
        "## What was excluded, and why",
        _table(["Stage", "Reason", "Documents", "Text"], rows) if rows else "Nothing.",
        "## Consent",
        f"Of {sum(consent.values()):,} documents that were asked about, {unknown:,} are of sites whose wishes could "
        "not be read. They are counted as unknown, never as allowed."
        if consent
        else "No source of this corpus consulted robots.txt.",
        "## Personal data",
        _table(["Type", "Values replaced", "Documents"], [[k, f"{n:,}", f"{d:,}"] for k, n, d in facts.redactions])
        if facts.redactions
        else "No personal value was found and replaced.",
        "## Languages",
        _table(["Label", "Documents", "Text"], languages) + (f"\n\nand {more:,} more" if more > 0 else ""),
        "## Licences",
        "`license:` in the head of this card is for the collection. A document's own licence, as far as its marks say, "
        "is in the column `license`; null says that none was found, not that the text is free.",
        "## Check it",
        f"```sh\nfairtrove audit . --root {facts.corpus.root}\nfairtrove ask . your-site.example\n```",
    ]
    if own.get("cite_as"):
        parts += ["## Citation", f"```\n{own['cite_as']}\n```"]
    return "\n\n".join(parts) + "\n"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _yaml(text: str) -> str:
    """A string as YAML takes it: JSON's strings are YAML's."""
    return json.dumps(text, ensure_ascii=False)
