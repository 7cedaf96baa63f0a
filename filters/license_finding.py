"""A mark and what many of them come to: the strictest wins, and that they disagree is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from filters.license_policy import RESTRICTIONS, restrictiveness


@dataclass(frozen=True, slots=True)
class Finding:
    """What a document says about its licence.

    Attributes:
        spdx: SPDX expression; None when nothing was found or when rights are only reserved.
        permissive: under `lists/licenses.toml`; None without evidence.
        detector: kind of mark: `spdx-tag`, `license-text`, `package-metadata`, `declared`; on pages `link`, `meta`,
            `rel-license`, `json-ld`, `footer-link`, `cc-mark` (a sentence), `rights-statement`.
        start, end: where the mark stands, code points of the content.
        conflict: whether marks disagree.
        confidence: 0..1, a rank of detectors, not a calibrated probability.
        restriction: kind of restriction, a key of the lists' `[opt_out]`; None when there is none.
        doubted: whether "all rights reserved" stands on a page beside its grant: a conflict that `open-only` excludes.
    """

    spdx: str | None = None
    permissive: bool | None = None
    detector: str | None = None
    start: int | None = None
    end: int | None = None
    conflict: bool = False
    confidence: float = 0.0
    restriction: str | None = None
    doubted: bool = False


NO_FINDING = Finding()
_ON_PAGES = frozenset(("link", "meta", "rel-license", "json-ld", "footer-link", "cc-mark"))


def granted(expression: str, detector: str, start: int, end: int, confidence: float) -> Finding:
    """A mark of a licence, with what the policy says of it."""
    rank = restrictiveness(expression)
    restriction = RESTRICTIONS[rank] if rank > 1 else None
    return Finding(expression, rank == 0, detector, start, end, False, confidence, restriction)


def reserved(restriction: str, start: int, end: int, confidence: float, detector: str = "rights-statement") -> Finding:
    """A finding of a restriction in words, for which there is no SPDX id."""
    # What was added to a licence may be terms of any kind: not permissive, and no restriction that we can name.
    named = restriction if restriction in RESTRICTIONS else None
    return Finding(None, False, detector, start, end, False, confidence, named)


def strictness(finding: Finding) -> int:
    """How much a mark restricts; 0 is permissive, 1 not ranked."""
    if finding.restriction:
        return RESTRICTIONS.index(finding.restriction)
    return 0 if finding.permissive else 1


def strictest(marks: Iterable[Finding]) -> Finding:
    """One finding out of all marks: the strictest; among equals the surest, then the first."""
    marks = list(marks)
    if not marks:
        return NO_FINDING
    doubted = any(mark.doubted for mark in marks)
    # "All rights reserved" beside an explicit grant is boilerplate (BSD texts hold it); beside a CC mark it is often
    # the theme's footer, which does not take the grant back but casts doubt on it.
    grants = [mark for mark in marks if mark.spdx]
    if grants:
        rights_reserved = any(mark.restriction == "rights_reserved" and not mark.spdx for mark in marks)
        doubted = doubted or (rights_reserved and any(mark.detector in _ON_PAGES for mark in grants))
        marks = [mark for mark in marks if mark.spdx or mark.restriction != "rights_reserved"]
    winner = max(marks, key=lambda mark: (strictness(mark), mark.confidence, -(mark.start or 0)))
    conflict = doubted or len({(mark.spdx, mark.restriction) for mark in marks}) > 1
    return replace(winner, conflict=True, doubted=doubted) if conflict else winner
