"""The trail of a document: what each stage it met said of it, in one short word list.

    read=eng_Latn allowed no_evidence identified=deu_Latn clean clean

One reason per stage, in the order of the task's stages; `=label` where the document's language label is another than
at the stage before (at first: where it has one). Counts by stage, reason and language are sums over trails. That makes
counts of *kept* documents provable from rows, and makes it possible to take one document out of them again without its
text, which is what a retraction does. A corpus has few distinct trails, so the column is a dictionary of some dozens
of strings and costs 0.4-0.7 bytes per document.
"""

from __future__ import annotations

from functools import lru_cache


def extend(trail: str, reason: str, language: str | None) -> str:
    """The trail after one more stage."""
    before = trail.rpartition("=")[2].partition(" ")[0] if "=" in trail else ""
    step = reason if (language or "") == before else f"{reason}={language or ''}"
    return f"{trail} {step}" if trail else step


@lru_cache(maxsize=65536)
def steps(trail: str) -> tuple[tuple[str, str | None], ...]:
    """Reason and language label at each stage that the document met."""
    found = []
    language: str | None = None
    for step in trail.split(" ") if trail else []:
        reason, changed, label = step.partition("=")
        if changed:
            language = label or None
        found.append((reason, language))
    return tuple(found)


def replace(trail: str, position: int, reason: str, ends: bool) -> str:
    """The trail with another reason at one stage; cut off behind it when the document `ends` there."""
    words = trail.split(" ")
    _, changed, label = words[position].partition("=")
    words[position] = f"{reason}{changed}{label}"
    return " ".join(words[: position + 1] if ends else words)
