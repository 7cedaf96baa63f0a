"""Under which licence a document may be used, by marks with a place, and the stage that filters on it.

Four rules make this a filter one can answer for. A verdict needs a mark: no evidence is never permissive (a published
filter let rows without any licence pass because "all of nothing" is true). A page that talks about a licence is not
under it: a mark counts by where it stands and by the sentence around it. Where marks disagree, the stricter wins and
the disagreement is recorded. And false-permissive is the costly error, so doubt is no evidence.

Each way of saying a licence has its module: whole texts by fingerprint (`license_index`, `license_texts`), notices and
titles (`license_notices`), names (`license_names`, `license_named`), source files, READMEs, package metadata
(`license_source`, `license_readme`, `license_metadata`), HTML (`license_html`, `license_page`) and extracted text
(`license_text`, `license_statements`, `license_rights`); `license_doubt` has what takes a named licence back. One
google-re2 gate (`license_gate`) looks for the words without which none of them can find anything; pages without one
cost only that scan.

On 1,350 development rows: false-permissive 0.15% (none on GNU, NC or ND rows; both rows hold a licence text that their
label overlooks), permissive recall 0.958, SPDX id right 0.935; of 87 ids given to HTML pages 84 are right, at a recall
of 0.96. They were tuned against, so expect less on other packages; 72 files written for the tests after the rules were
right but for three. On corpus pages 9 to 11 CPU ms per MB, half of it the gate (`python -m tests.bench.bench_license`).

Under the default policy `opt-out` a web page stays unless it carries an explicit restriction: NC, ND, rights reserved,
a text-and-data-mining or AI reservation, and also share-alike and copyleft. The last two are a choice: they permit use,
but on terms that a trained model and its maker cannot be shown to keep; the post-training data of the published corpus
left share-alike out; and a wrong exclusion is undone by a list, a wrong inclusion is not. `allow` takes them in. Pages
that say nothing stay, as in the published corpus, and are counted apart; code that says nothing goes (`open-only`).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from datatrove.data import Document

from filters.decision import Action, Decision, Evidence
from filters.license_finding import NO_FINDING, Finding, granted, strictest
from filters.license_gate import may_hold_a_mark
from filters.license_html import is_html
from filters.license_index import index_sha256
from filters.license_metadata import metadata_marks
from filters.license_names import parse_declared
from filters.license_page import page_marks
from filters.license_policy import (
    allowed_by,
    canonical,
    check_allowed,
    ids_in,
    licensing,
    lists_sha256,
    opt_out_restrictions,
    permissive,
    policy_lists,
)
from filters.license_readme import readme_marks
from filters.license_source import license_file_marks, source_marks
from filters.license_text import text_marks
from filters.stage import Stage

# Bumped whenever a change here can change an answer.
CODE_VERSION = "5"
DETECTOR = f"fairtrove-license@{CODE_VERSION}"
__all__ = ["KINDS", "NO_FINDING", "Finding", "License", "Reason", "detect", "inspect", "parse_declared", "permissive"]


class Reason(StrEnum):
    """Why a document stays or goes; which of them exclude is the policy's business."""

    PERMISSIVE = "permissive"
    RESTRICTED = "restricted"
    NO_EVIDENCE = "no_evidence"
    CONFLICT = "conflict"  # marks disagree, and the strictest of them restricts
    UNRECOGNIZED = "unrecognized"  # a licence is named that the lists do not rank


# `books`, `math` and `parallel` are the recipes' names for other running text; it is read as the text of a page.
KINDS = (
    "web",
    "html",
    "books",
    "math",
    "parallel",
    "markdown",
    "code",
    "source",
    "license_text",
    "metadata",
    "declared",
)
MAX_LICENSE_CHARS = 200_000  # the longest licence text, with room for others beside it
MAX_README_CHARS = 300_000
MAX_HTML_CHARS = 4_000_000  # a page's licence stands in it or nowhere; the rest is data


# ---------------------------------------------------------------------------------------------------------------------
# The rule
# ---------------------------------------------------------------------------------------------------------------------


def detect(kind: str, content: str, url: str | None) -> tuple[str | None, bool | None]:
    """SPDX expression of the content's licence and whether it is permissive; `(None, None)` without evidence.

    Args:
        kind: one of `KINDS`: `web` (HTML or extracted text), `html`, `markdown`, `code` or `source`, `license_text`,
            `metadata` (`package.json`, `PKG-INFO`, `pyproject.toml`, ...), `declared` (a string in which somebody names
            the licence).
        content: what to look at.
        url: where it is from. The sites that publish licences (`[about]` of the lists) show their texts without being
            under them.

    `(None, False)` says that rights are reserved in words, for which there is no SPDX id.

    Raises:
        ValueError: the kind is none of `KINDS`.
    """
    finding = inspect(kind, content, url)
    return finding.spdx, finding.permissive


def inspect(kind: str, content: str, url: str | None = None) -> Finding:
    """As `detect`, with the mark's place and kind, and whether marks disagree."""
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is none of {', '.join(KINDS)}")
    if not content:
        return NO_FINDING
    if kind == "declared":
        return declared(content)
    try:
        marks = _marks(kind, content)
    except UnicodeEncodeError:  # lone surrogates, which no encoding takes; "?" has as much room
        marks = _marks(kind, content.encode("utf-8", "replace").decode("utf-8"))
    if url and marks and _is_about_licences(url):
        marks = [mark for mark in marks if mark.detector in ("link", "meta", "rel-license", "json-ld")]
    return strictest(marks)


def declared(text: str) -> Finding:
    """Read a licence name or expression as people write it in package metadata and data set cards."""
    expression = parse_declared(text[:500])
    if expression is None:
        return NO_FINDING
    return granted(expression, "declared", 0, min(len(text), 500), 0.9)


def _marks(kind: str, content: str) -> list[Finding]:
    if kind in ("license_text", "metadata"):
        return _file_marks(kind, content)
    if kind in ("code", "source", "markdown"):
        return _file_marks(kind, content) if may_hold_a_mark(content) else []
    if kind == "html" or is_html(content):
        return page_marks(content[:MAX_HTML_CHARS]) if may_hold_a_mark(content) else []
    return text_marks(content)


def _file_marks(kind: str, content: str) -> list[Finding]:
    content = content.replace("\r\n", " \n")  # as long, and a line end is one character
    if kind == "license_text":
        return license_file_marks(content[:MAX_LICENSE_CHARS])
    if kind == "markdown":
        return readme_marks(content[:MAX_README_CHARS])
    metadata = metadata_marks(content)
    return metadata if kind == "metadata" or metadata else source_marks(content)


def _is_about_licences(url: str) -> bool:
    host = url.split("//", 1)[-1].split("/", 1)[0].lower().removeprefix("www.")
    return any(host == name or host.endswith("." + name) for name in policy_lists()["about"]["hosts"])


# ---------------------------------------------------------------------------------------------------------------------
# The stage
# ---------------------------------------------------------------------------------------------------------------------

_KEEP = {reason: Decision(Action.KEEP, reason) for reason in Reason}


class License(Stage):
    """Exclude documents whose licence does not fit the policy.

    Args:
        policy: `opt-out` excludes what restricts in words (kinds of restriction in `lists/licenses.toml`, `[opt_out]`)
            and keeps the rest, as the published corpus treats web text; `open-only` keeps nothing but permissive
            licences that nothing on the page casts doubt on, the right policy for code and declared data sets.
        kind: what the documents are (see `detect`); `metadata["kind"]` overrides it.
        allow: further SPDX ids that count as permissive; an id without version allows all its versions and ports, so
            `CC-BY-SA` takes Wikipedia in.
        exclusion_writer: see `Stage`.

    Raises:
        ValueError: an unknown policy or kind, or an `allow` that is no SPDX id; the message names the nearest ones.

    For web documents `metadata["html"]` is looked at instead of the text when there is one: the place of a mark tells
    more than its words. A licence that the source declares in `metadata["license"]` is a mark too, and for code so is
    the nearest licence file in `metadata["license_file"]`: the most restrictive of header, file and declaration wins.
    What a data set declares of itself as a compilation (ODC-By, ODbL, CDLA) says nothing of a document in it.
    Sets `metadata["license"]` to the SPDX expression found, else None.
    """

    name = "📜 Licence"
    stage = "license"

    def __init__(
        self, policy: str = "opt-out", kind: str = "web", allow: Sequence[str] = (), exclusion_writer: Any = None
    ):
        super().__init__(exclusion_writer)
        if policy not in ("opt-out", "open-only"):
            raise ValueError(f'policy is "opt-out" or "open-only", not {policy!r}')
        inspect(kind, "")  # refuses an unknown kind
        self.policy = policy
        self.kind = kind
        self.allow = tuple(allow)
        check_allowed(self.allow)

    def decide(self, documents: Sequence[Document]) -> list[Decision]:
        """One decision per document; annotates `metadata["license"]`."""
        return [self._decide(document) for document in documents]

    def fingerprint(self) -> dict[str, str]:
        """What decisions depend on besides the document."""
        return {
            "code": CODE_VERSION,
            "policy": self.policy,
            "kind": self.kind,
            "allow": ",".join(self.allow),
            "lists_sha256": lists_sha256(),
            "index_sha256": index_sha256(),
        }

    def _decide(self, document: Document) -> Decision:
        metadata = document.metadata
        kind = metadata.get("kind", self.kind)
        if kind not in KINDS:
            kind = self.kind
        content = document.text or ""
        if kind == "web" and metadata.get("html") and isinstance(metadata["html"], str):
            content, kind = metadata["html"], "html"
        finding = inspect(kind, content, metadata.get("url"))
        beside = [_declared_by_source(metadata.get("license") or metadata.get("detected_licenses"))]
        if isinstance(metadata.get("license_file"), str):
            beside.append(inspect("license_text", metadata["license_file"]))
        if any(mark.detector for mark in beside):
            finding = strictest(mark for mark in (finding, *beside) if mark.detector)
        metadata["license"] = finding.spdx
        return self._judge(finding)

    def _judge(self, finding: Finding) -> Decision:
        if finding.detector is None:
            reason = Reason.NO_EVIDENCE
        elif finding.doubted and finding.permissive and self.policy == "open-only":
            reason = Reason.CONFLICT
        elif finding.permissive or (finding.spdx and self._allowed(finding.spdx)):
            reason = Reason.PERMISSIVE
        elif finding.restriction is None:
            reason = Reason.UNRECOGNIZED
        else:
            reason = Reason.CONFLICT if finding.conflict else Reason.RESTRICTED
        if self.policy == "opt-out":
            excluded = reason in (Reason.RESTRICTED, Reason.CONFLICT) and finding.restriction in opt_out_restrictions()
        else:
            excluded = reason is not Reason.PERMISSIVE
        if not excluded:
            return _KEEP[reason]
        found = Evidence(
            protocol=finding.detector or "none",
            license=finding.spdx,
            start=finding.start,
            end=finding.end,
            detector=DETECTOR,
            rule=finding.restriction or ("rights_reserved" if finding.doubted else None),
        )
        return Decision(Action.EXCLUDE, reason, found, score=finding.confidence if finding.detector else None)

    def _allowed(self, expression: str) -> bool:
        if not self.allow:
            return False
        return allowed_by(licensing().parse(expression), self.allow)


def _declared_by_source(value: object) -> Finding:
    """A `license` or `detected_licenses` column: a string, or a list whose members all apply. None is no evidence."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, Sequence) or not value or not all(isinstance(part, str) for part in value):
        return NO_FINDING
    names = [parse_declared(part[:500]) for part in value]
    if not all(names):
        return NO_FINDING
    expression = canonical(" AND ".join(f"({name})" for name in names))
    if not ids_in(expression).isdisjoint(policy_lists()["compilation"]["ids"]):
        return NO_FINDING
    return granted(expression, "declared", 0, 0, 0.9)
