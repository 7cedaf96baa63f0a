"""Under which licence a document may be used, by marks with a place, and the stage that filters on it.

Four rules make this a filter one can answer for. A verdict needs a mark: no evidence is never permissive (a published
filter let rows without any licence pass because "all of nothing" is true). A page that talks about a licence is not
under it: a mark counts by where it stands (of the CC links on 154 real pages 96% with `rel=license`, 94% in a footer
and none in a caption spoke for the page) and by the sentence around it. Where marks disagree, the stricter wins and
the disagreement is recorded. And false-permissive is the costly error, so doubt is no evidence.

In extracted text, where lines are all the structure left, a Creative Commons statement is told by its build and its
place, with words of some sixty languages as data (`[words]` of the lists), and not symmetrically: a restriction in a
short line at the page's edge needs no word that we know, a permission needs a licence word or a sign of copyright, and
both yield to talk and to other people's pictures, data and software. On 75 statements in 40 languages and 75 others set
aside before tuning: 74 right, no false claim; the same author wrote both, so real pages will do worse.

One google-re2 gate looks for the words without which no detector can find anything; pages without one cost only that
scan, and on the others detectors see windows around the hits. On 1,350 development rows: false-permissive
0.15% (none on GNU, NC or ND rows), permissive recall 0.92, SPDX id right 0.90; of 87 ids given to real web
pages 84 were right. They were written and tuned against, so expect less on other packages.

Under the default policy `opt-out` a web page stays unless it carries an explicit restriction: NC, ND, rights reserved,
a text-and-data-mining or AI reservation, and also share-alike and copyleft. The last two are a choice: they permit use,
but on terms that a trained model and its maker cannot be shown to keep; the post-training data of the published corpus
left share-alike out; and a wrong exclusion is undone by a list, a wrong inclusion is not. `allow` takes them in.
"""

from __future__ import annotations

import functools
import hashlib
import html
import itertools
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import re2
from datatrove.data import Document
from license_expression import ExpressionError, Licensing, get_spdx_licensing

from filters.decision import Action, Decision, Evidence
from filters.stage import Stage

# Bumped whenever a change here can change an answer.
CODE_VERSION = "2"
DETECTOR = f"fairtrove-license@{CODE_VERSION}"
LICENSE_LISTS = Path(__file__).parent / "lists" / "licenses.toml"


class Reason(StrEnum):
    """Why a document stays or goes; which of them exclude is the policy's business."""

    PERMISSIVE = "permissive"
    RESTRICTED = "restricted"
    NO_EVIDENCE = "no_evidence"
    CONFLICT = "conflict"  # marks disagree, and the strictest of them restricts
    UNRECOGNIZED = "unrecognized"  # a licence is named that the lists do not rank


@dataclass(frozen=True, slots=True)
class Finding:
    """What a document says about its licence.

    Attributes:
        spdx: SPDX expression; None when nothing was found or when rights are only reserved.
        permissive: under `lists/licenses.toml`; None without evidence.
        detector: kind of mark: `spdx-tag`, `license-text`, `cc-mark`, `rights-statement`, `declared`.
        start, end: where the mark stands, code points of the content.
        conflict: whether marks disagree.
        confidence: 0..1, a rank of detectors, not a calibrated probability.
        restriction: kind of restriction, a key of the lists' `[opt_out]`; None when there is none.
    """

    spdx: str | None = None
    permissive: bool | None = None
    detector: str | None = None
    start: int | None = None
    end: int | None = None
    conflict: bool = False
    confidence: float = 0.0
    restriction: str | None = None


NO_FINDING = Finding()
# `books`, `math` and `parallel` are the recipes' names for other running text; it is read as the text of a page.
KINDS = ("web", "html", "books", "math", "parallel", "markdown", "code", "source", "license_text", "declared")
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
            `declared` (a string in which somebody names the licence).
        content: what to look at.
        url: where it is from; no rule uses it yet.

    `(None, False)` says that rights are reserved in words, for which there is no SPDX id.
    """
    finding = inspect(kind, content, url)
    return finding.spdx, finding.permissive


def inspect(kind: str, content: str, url: str | None = None) -> Finding:
    """As `detect`, with the mark's place and kind."""
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is none of {', '.join(KINDS)}")
    if not content:
        return NO_FINDING
    if kind == "declared":
        return declared(content)
    try:
        hit = kind == "license_text" or _GATE.search(content)
    except UnicodeEncodeError:  # lone surrogates, which re2 refuses; "?" takes as much room
        content = content.encode("utf-8", "replace").decode("utf-8")
        hit = _GATE.search(content)
    if not hit:
        return NO_FINDING
    if kind == "license_text":
        return _settle(_license_file_marks(content[:MAX_LICENSE_CHARS]))
    if kind in ("code", "source"):
        return _settle(_source_marks(content))
    if kind == "markdown":
        return _settle(_readme_marks(content[:MAX_README_CHARS]))
    if kind == "html" or _HTML.search(content, 0, 4096):
        return _settle(_page_marks(content[:MAX_HTML_CHARS]))
    return _settle(_text_marks(content, extracted=True))


def declared(text: str) -> Finding:
    """Read a licence name or expression as people write it in package metadata and data set cards."""
    expression = parse_declared(text[:500])
    if expression is None:
        return NO_FINDING
    return _finding(expression, "declared", 0, min(len(text), 500), 0.9)


def permissive(expression: str) -> bool:
    """Whether an SPDX expression is permissive: OR if any part is, AND if all are, WITH as what stands before it."""
    return _restrictiveness(expression) == 0


# ---------------------------------------------------------------------------------------------------------------------
# Policy: what an expression allows
# ---------------------------------------------------------------------------------------------------------------------

# Worst last, so that the worse of two restrictions is the greater index; 0 is permissive, 1 not ranked.
_KINDS = (
    "permissive",
    "unranked",
    "weak_copyleft",
    "copyleft",
    "share_alike",
    "proprietary",
    "source_available",
    "noderivatives",
    "noncommercial",
    "rights_reserved",
    "tdm_reserved",
    "no_ai",
)
_CC = re.compile(r"CC-(BY(?:-(?:SA|NC|ND|NC-SA|NC-ND))?)(?:-\d.*)?\Z")


@functools.cache
def _lists() -> dict[str, Any]:
    return tomllib.loads(LICENSE_LISTS.read_text(encoding="utf-8"))


@functools.cache
def _lists_sha256() -> str:
    return hashlib.sha256(LICENSE_LISTS.read_bytes()).hexdigest()


@functools.cache
def _kind_of_id() -> dict[str, int]:
    lists = _lists()
    kinds = {name: _KINDS.index("unranked") for name in lists["unranked"]["ids"]}
    for restriction, names in lists["restricted"].items():
        kinds.update(dict.fromkeys(names, _KINDS.index(restriction)))
    for names in lists["permissive"].values():
        kinds.update(dict.fromkeys(names, 0))
    return kinds


@functools.lru_cache(maxsize=4096)
def _restrictiveness(expression: str) -> int:
    """Index into `_KINDS` of what the expression comes to."""
    try:
        parsed = _licensing().parse(expression)
    except ExpressionError:
        return _KINDS.index("unranked")
    return _restrictiveness_of(parsed)


def _restrictiveness_of(node: Any) -> int:
    if hasattr(node, "license_symbol"):
        return _restrictiveness_of(node.license_symbol)
    if getattr(node, "isliteral", False) or hasattr(node, "key"):
        return _id_restrictiveness(node.key)
    parts = [_restrictiveness_of(part) for part in node.args]
    return min(parts) if node.operator.strip() == "OR" else max(parts)


def _id_restrictiveness(spdx_id: str) -> int:
    if spdx_id == "CC0-1.0" or (cc := _CC.match(spdx_id)):
        kind = "CC0" if spdx_id == "CC0-1.0" else "CC-" + cc[1]  # type: ignore[index]
        if kind in _lists()["creative_commons"]["permissive"]:
            return 0
        for element, restriction in (("NC", "noncommercial"), ("ND", "noderivatives"), ("SA", "share_alike")):
            if element in kind:
                return _KINDS.index(restriction)
    return _kind_of_id().get(spdx_id, _KINDS.index("unranked"))


@functools.cache
def _licensing() -> Licensing:
    return get_spdx_licensing()  # builds an index, 0.1 s each time


def _finding(expression: str, detector: str, start: int, end: int, confidence: float) -> Finding:
    rank = _restrictiveness(expression)
    restriction = _KINDS[rank] if rank > 1 else None
    return Finding(expression, rank == 0, detector, start, end, False, confidence, restriction)


def _reservation(restriction: str, start: int, end: int, confidence: float) -> Finding:
    return Finding(None, False, "rights-statement", start, end, False, confidence, restriction)


def _strictness(finding: Finding) -> int:
    if finding.restriction:
        return _KINDS.index(finding.restriction)
    return 0 if finding.permissive else 1


def _settle(marks: Iterable[Finding]) -> Finding:
    """One finding out of all marks: the strictest; among equals the surest, then the first."""
    marks = list(marks)
    if not marks:
        return NO_FINDING
    # "All rights reserved" beside an explicit grant is boilerplate (BSD texts hold it); beside a CC mark it is often
    # the theme's footer, which does not take the grant back but casts doubt on it.
    grants = [mark for mark in marks if mark.spdx]
    doubted = False
    if grants:
        doubted = any(mark.restriction == "rights_reserved" and not mark.spdx for mark in marks) and any(
            mark.detector == "cc-mark" for mark in grants
        )
        marks = [mark for mark in marks if mark.spdx or mark.restriction != "rights_reserved"]
    winner = max(marks, key=lambda mark: (_strictness(mark), mark.confidence, -(mark.start or 0)))
    conflict = doubted or len({(mark.spdx, mark.restriction) for mark in marks}) > 1
    return replace(winner, conflict=True) if conflict else winner


# ---------------------------------------------------------------------------------------------------------------------
# Names: from how people write a licence to its SPDX id
# ---------------------------------------------------------------------------------------------------------------------

_NOT_AN_ID = {
    "",
    "unknown",
    "other",
    "custom",
    "mixed",
    "special",
    "commercial",
    "proprietary",
    "none",
    "nc",
    "cc",
    "bsd",
}
_ALIASES = {  # spelling without case and punctuation -> id
    "mit": "MIT", "expat": "MIT", "mitexpat": "MIT", "mitx11": "MIT", "mitx": "MIT", "mitjquery": "MIT", "x11": "X11",
    "apache2": "Apache-2.0", "apache20": "Apache-2.0", "apachev2": "Apache-2.0", "apachev20": "Apache-2.0",
    "apacheversion20": "Apache-2.0", "apacheversion2": "Apache-2.0", "asl20": "Apache-2.0", "asl2": "Apache-2.0",
    "apachesoftware20": "Apache-2.0", "apachesoftwareversion20": "Apache-2.0", "al20": "Apache-2.0",
    "apache20opensource": "Apache-2.0", "apache11": "Apache-1.1",
    "bsd2": "BSD-2-Clause", "bsd2clause": "BSD-2-Clause", "bsd2clauses": "BSD-2-Clause", "2clausebsd": "BSD-2-Clause",
    "twoclausebsd": "BSD-2-Clause", "simplifiedbsd": "BSD-2-Clause", "bsdsimplified": "BSD-2-Clause",
    "freebsd": "BSD-2-Clause", "bsd2clausesimplified": "BSD-2-Clause", "bsd2clausefreebsd": "BSD-2-Clause-Views",
    "bsd3": "BSD-3-Clause", "bsd3clause": "BSD-3-Clause", "bsd3clauses": "BSD-3-Clause", "3clausebsd": "BSD-3-Clause",
    "threeclausebsd": "BSD-3-Clause", "newbsd": "BSD-3-Clause", "modifiedbsd": "BSD-3-Clause",
    "revisedbsd": "BSD-3-Clause", "bsdnew": "BSD-3-Clause", "bsd3clauseneworrevised": "BSD-3-Clause",
    "bsd4": "BSD-4-Clause", "bsd4clause": "BSD-4-Clause", "4clausebsd": "BSD-4-Clause",
    "zlib": "Zlib", "zliblibpng": "Zlib", "boost": "BSL-1.0", "boost10": "BSL-1.0", "boostsoftware10": "BSL-1.0",
    "boostsoftware": "BSL-1.0", "boostsoftwareversion10": "BSL-1.0", "unlicense": "Unlicense", "isc": "ISC",
    "publicdomain": "LicenseRef-public-domain", "pdm": "LicenseRef-public-domain", "pd": "LicenseRef-public-domain",
    "cc0": "CC0-1.0", "cc010": "CC0-1.0", "cc010universal": "CC0-1.0", "creativecommonszero": "CC0-1.0",
    "creativecommonszerov10universal": "CC0-1.0", "cczero": "CC0-1.0",
    "artistic": "Artistic-1.0-Perl", "artistic1": "Artistic-1.0-Perl", "artistic2": "Artistic-2.0",
    "perl": "Artistic-1.0-Perl OR GPL-1.0-or-later", "perl5": "Artistic-1.0-Perl OR GPL-1.0-or-later",
    "sameasperl": "Artistic-1.0-Perl OR GPL-1.0-or-later", "psf": "PSF-2.0", "psfl": "PSF-2.0", "psf2": "PSF-2.0",
    "pythonsoftwarefoundation": "PSF-2.0", "python": "PSF-2.0", "wtfpl": "WTFPL", "wtfpl2": "WTFPL",
    "zpl": "ZPL-2.1", "zpl21": "ZPL-2.1", "zope21": "ZPL-2.1", "zopepublic21": "ZPL-2.1", "zopepublic": "ZPL-2.1",
    "mpl": "MPL-2.0", "mpl2": "MPL-2.0", "mpl20": "MPL-2.0", "mpl11": "MPL-1.1", "mozillapublic20": "MPL-2.0",
    "mozillapublicversion20": "MPL-2.0", "mozillapublic11": "MPL-1.1", "epl1": "EPL-1.0", "epl2": "EPL-2.0",
    "eclipsepublic10": "EPL-1.0", "eclipsepublic20": "EPL-2.0", "cddl": "CDDL-1.0", "cddl1": "CDDL-1.0",
    "ofl": "OFL-1.1", "sil": "OFL-1.1", "silopenfont11": "OFL-1.1", "silofl11": "OFL-1.1", "odcby": "ODC-By-1.0",
    "odbl": "ODbL-1.0", "afl": "AFL-2.1", "etalab": "etalab-2.0", "etalabopen20": "etalab-2.0",
    "datenlizenzdeutschlandnamensnennung20": "DL-DE-BY-2.0", "cuda": "C-UDA-1.0", "w3c": "W3C", "ncsa": "NCSA",
    "universalpermissive10": "UPL-1.0", "upl": "UPL-1.0", "eupl12": "EUPL-1.2", "eupl": "EUPL-1.2",
    "academicfree21": "AFL-2.1", "academicfree30": "AFL-3.0", "blueoak": "BlueOak-1.0.0",
    "apache": "Apache-2.0", "postgresql": "PostgreSQL", "hpnd": "HPND", "busl": "BUSL-1.1",
    "sspl": "SSPL-1.0", "0bsd": "0BSD",
}  # fmt: skip
_EXCEPTIONS = (
    ("bison", "Bison-exception-2.2"), ("autoconf", "Autoconf-exception-2.0"), ("libtool", "Libtool-exception"),
    ("classpath", "Classpath-exception-2.0"), ("syscall", "Linux-syscall-note"), ("gcc", "GCC-exception-3.1"),
    ("openssl", "openvpn-openssl-exception"), ("llvm", "LLVM-exception"), ("font", "Font-exception-2.0"),
)  # fmt: skip
_GNU_NAME = re.compile(
    r"(?:the )?(?:gnu )?(?P<family>agpl|lgpl|gfdl|fdl|gpl|(?:affero|lesser|library) (?:gpl|general public)|"
    r"general public|free documentation)(?: licen[sc]e)?"
    r"(?:[ ,(-]*(?:v|ver\.?|versions?)?[ .]*(?P<version>[1-3](?:\.[0-3])?)(?:\.0)?)?"
    r"(?P<later>\+|[ ,(-]*or[ -](?:\(at your option\) )?(?:any )?(?:later|newer|above|higher).*)?(?P<only>[ -]only)?"
    r"[ )]*(?:licen[sc]e)?\Z"
)
_GNU_FAMILIES = {
    "agpl": "AGPL", "affero gpl": "AGPL", "affero general public": "AGPL", "lgpl": "LGPL", "lesser gpl": "LGPL",
    "library gpl": "LGPL", "lesser general public": "LGPL", "library general public": "LGPL", "gfdl": "GFDL",
    "fdl": "GFDL", "free documentation": "GFDL", "gpl": "GPL", "general public": "GPL",
}  # fmt: skip
# Without a version the licensee may choose any that was ever published.
_GNU_FIRST = {"AGPL": "3.0", "LGPL": "2.0", "GFDL": "1.1", "GPL": "1.0"}
_CC_URL = re.compile(
    r"creativecommons\.org/(?:licen[sc]es/(?P<type>by(?:-[a-z]{2}){0,2}|publicdomain)|publicdomain/(?P<pd>zero|mark))"
    r"(?:/(?P<version>\d\.\d))?(?:/(?P<port>[a-z]{2,8})(?![a-z.]))?",
    re.IGNORECASE,
)


@functools.lru_cache(maxsize=8192)
def parse_declared(text: str) -> str | None:
    """The SPDX expression that a declaration means, None when any part of it is not a licence that we know."""
    text = re.sub(r"\s+", " ", text.replace("，", ",")).strip().strip(".*_`'\"[]")
    if not text or len(text) > 200:
        return None
    if name := _one_name(text):
        return name
    try:
        parsed = _licensing().parse(text, validate=True)
        if parsed is not None:
            return _render(str(parsed))
    except Exception:  # boolean.py and license-expression raise several types on free text
        pass
    bare = re.sub(r" ?\([^()]*\)", "", text).strip(" ()")
    if bare != text and (name := _one_name(bare)):
        return name
    for pattern, operator in ((r",? or |\|\|?|/|; or ", " OR "), (r" and |[,;&+] | [&+] |,", " AND ")):
        parts = [part.strip(" ,;") for part in re.split(pattern, bare, flags=re.IGNORECASE)]
        if len(parts) > 1 and not bare.startswith("http"):
            names = [parse_declared(part) for part in parts]
            if all(names):
                joined = operator.join(f"({name})" if " " in name else name for name in names if name)
                return _render(joined)
            return None
    return None


def _one_name(text: str) -> str | None:
    name = text.lower().strip()
    if "creativecommons.org/" in name:
        found = _CC_URL.search(name)
        return _cc_id_of_url(found) if found else None
    if name.startswith("http"):
        if "apache.org/licenses/license-2.0" in name:
            return "Apache-2.0"
        found = re.search(r"(?:opensource\.org/licen[sc]es?|spdx\.org/licenses|gnu\.org/licenses|mozilla\.org/mpl)/"
                          r"(?:old-licenses/)?([a-z0-9.-]+?)(?:\.(?:html|php|txt|json))?/?\Z", name)  # fmt: skip
        return _one_name(found[1]) if found and found[1] != name else None
    exception = re.match(r"(.*?)[ -]+(?:with|w/)[ -](?:the )?(.*)|(.*?)[ -]+(libtool)[ -]exception", name)
    if exception:
        base = _one_name((exception[1] or exception[3]).strip(" -"))
        rest = exception[2] or exception[4]
        named = next((id for word, id in _EXCEPTIONS if word in rest), None)
        return f"{base} WITH {named}" if base and named and " " not in base else None
    if gnu := _GNU_NAME.match(name):
        family = _GNU_FAMILIES[gnu["family"]]
        if gnu["version"] is None:
            return f"{family}-{_GNU_FIRST[family]}-or-later"
        version = gnu["version"] if "." in gnu["version"] else gnu["version"] + ".0"
        return _known(f"{family}-{version}-{'or-later' if gnu['later'] else 'only'}")
    if not re.search(r",| and | or |/|;| & (?!.*alike)|\+", name) and (cc := _cc_in_words(name)):
        return cc
    squashed = re.sub(r"[^a-z0-9]", "", re.sub(r"\blicen[sc]ed?\b|\bthe\b|\bversion\b|\(.*?\)", "", name))
    if squashed in _NOT_AN_ID:
        return None
    if squashed in _ALIASES:
        return _ALIASES[squashed]
    squashed = squashed.removesuffix("software")
    if squashed in _ALIASES:
        return _ALIASES[squashed]
    return _ids_by_spelling().get(re.sub(r"[^a-z0-9.+]", "", name))


@functools.cache
def _ids_by_spelling() -> dict[str, str]:
    return {re.sub(r"[^a-z0-9.+]", "", id.lower()): id for id in _kind_of_id()}


@functools.cache
def _spdx_ids() -> frozenset[str]:
    return frozenset(_licensing().known_symbols)


def _known(spdx_id: str) -> str | None:
    return spdx_id if spdx_id in _spdx_ids() else None


def _render(expression: str) -> str:
    """Canonical form: parts sorted, doubles gone."""
    return str(_licensing().parse(expression).simplify())


def _cc_id(kind: str, version: str | None, port: str | None) -> str | None:
    kind = kind.upper()
    if kind == "BY-ND-NC":
        kind = "BY-NC-ND"
    if kind == "BY-SA-NC":
        kind = "BY-NC-SA"
    if kind not in ("BY", "BY-SA", "BY-NC", "BY-ND", "BY-NC-SA", "BY-NC-ND"):
        return None
    spdx_id = f"CC-{kind}-{version or '4.0'}"  # a mark without version: its maker's current one
    if port and f"{spdx_id}-{port.upper()}" in _spdx_ids():
        return f"{spdx_id}-{port.upper()}"
    return spdx_id if spdx_id in _spdx_ids() else f"CC-{kind}-4.0"


def _cc_id_of_url(found: re.Match[str]) -> str | None:
    if found["pd"]:
        return "CC0-1.0" if found["pd"].lower() == "zero" else "LicenseRef-public-domain"
    if found["type"].lower() == "publicdomain":
        return "LicenseRef-public-domain"
    return _cc_id(found["type"], found["version"], found["port"])


# The four elements as the deeds name them, in the languages they are mostly met in.
_CC_ELEMENTS = {
    "nc": r"\bnc\b|not for (?:any )?commercial|no commercial use|"
    r"non[- ]?comm?erci|nicht[- ]?komm?erzi|keine[- ]?komm?erziel|pas d.utilisation commerciale|"
    "no comercial|"
    r"não comercial|naocomercial|nãocomercial|niet[- ]?commerci|użycie niekomercyjne|некоммерч|gayri ?ticari|"
    r"非営利|非商业|"
    r"非商業|비영리|non commerciale|ikke[- ]?komm?ersi|icke[- ]?komm?ersi|ei[- ]?kaupallinen|"
    r"nekomerční|ne kereskedelmi",
    "nd": r"\bnd\b|no[- ]?deriv|keine[- ]?bearbeitung|pas de modification|sin (?:obra )?derivad|sem derivaç|"
    "geen afgeleide|"
    r"bez utworów zależnych|без производных|türetilemez|改変禁止|禁止演绎|禁止改作|변경금지|non opere derivate|"
    r"ingen bearbeid|inga bearbet|nezpracovávat",
    "sa": r"\bsa\b|share[- ]?alike|gleichen bedingungen|partage (?:dans les mêmes conditions|à l.identique)|"
    "compartir ?igual|"
    r"compartilha ?igual|partilha ?(?:nos mesmos|igual)|gelijk delen|na tych samych warunkach|с сохранением условий|"
    r"aynı lisansla|継承|相同方式共享|相同方式分享|동일조건|"
    r"condividi allo stesso modo|del på (?:samme|samma) vil|zachovejte",
    "by": r"\bby\b|attribution|namensnennung|paternité|reconocimiento|atribu|attribuzione|naamsvermelding|"
    "uznanie autorstwa|"
    r"с указанием авторства|атрибуция|表示|署名|姓名標示|저작자|navngivelse|erkännande|nimeä|uveďte|nevezd meg",
}
_CC_PATTERNS = {element: re.compile(pattern, re.IGNORECASE) for element, pattern in _CC_ELEMENTS.items()}
_CC_NAMES = (  # how the organisation writes itself, or is written
    "creative[ -]?commons|クリエイティブ・?コモンズ|知[识識]共享|[创創]用 ?cc|크리에이티브 ?커[먼몬]즈|المشاع الإبداعي|"
    "کر[یی]*ت[یی]و کامنز|क्रिएटिव कॉमन्स|ক্রিয়েটিভ কমন্স|ครีเอทีฟ ?คอมมอน|קריאייטיב קומונס|криейтив комънс|креатив комонс|"
    "креативна заједница|крэатыў комманс|கிரியேட்டிவ் காமன்ஸ்|ക്രിയേറ്റീവ് കോമൺസ്|క్రియేటివ్ కామన్స్"
)
_CC_NAME = re.compile(rf"{_CC_NAMES}|(?<![a-z0-9])cc(?=[ -]*(?:by|0|zero|-?licen[sc]|-?lizenz))", re.IGNORECASE)


def _cc_in_words(text: str) -> str | None:
    """A Creative Commons licence named in a short text, by its elements; None when it names none or several."""
    found = _CC_NAME.search(text)
    if not found:
        return None
    rest = text[found.start() :]
    if re.match(r"cc ?-?(?:0|zero)|creative[ -]?commons[ -](?:cc ?-?)?(?:0|zero)", rest, re.IGNORECASE):
        return "CC0-1.0"
    if len(re.findall(r"\bby\b", rest, re.IGNORECASE)) > 1 and "," in rest:
        return None
    if not _CC_PATTERNS["by"].search(rest):
        return None
    elements = ["BY"] + [element.upper() for element in ("nc", "nd", "sa") if _CC_PATTERNS[element].search(rest)]
    if elements[-2:] == ["ND", "SA"]:
        return None
    version = re.search(r"(?<![\d.])([1-4])(?:\.([05]))?(?![\d.]\d)", rest)
    if version is None and re.fullmatch(r"cc[ -]by", text.strip(), re.IGNORECASE):
        return None  # two letters without a version, as a whole declaration, is not enough to go by
    number = f"{version[1]}.{version[2] or '0'}" if version else None
    port = re.search(r"\b(de|at|ch|us|uk|au|nl|igo|fr|it|es)\b\W*\Z", rest, re.IGNORECASE)
    return _cc_id("-".join(elements), number, port[1] if port and number else None)


# ---------------------------------------------------------------------------------------------------------------------
# Licence texts and notices: by phrases that only they hold
# ---------------------------------------------------------------------------------------------------------------------

_WORD = re.compile(r"[a-z0-9][a-z0-9.+]*", re.IGNORECASE)


class _Words:
    """A text as lower-case words with single spaces, and the way back to the places in the original."""

    def __init__(self, text: str, base: int):
        found = [(word[0].lower().rstrip("."), word.start(), word.end()) for word in _WORD.finditer(text)]
        self.text = " ".join(word for word, _, _ in found)
        self._found, self._base = found, base

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Code point range in the original of a range of `text`."""
        first = self.text.count(" ", 0, start)
        last = first + self.text.count(" ", start, max(start, end - 1))
        return self._base + self._found[first][1], self._base + self._found[min(last, len(self._found) - 1)][2]


@functools.cache
def _texts() -> tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]:
    """The lists' `[[text]]`: id, phrases that must all be there (the first marks the place), phrases that must not."""
    return tuple((text["id"], tuple(text["has"]), tuple(text.get("lacks", ()))) for text in _lists()["text"])


_CC_TITLE = re.compile(
    r"\b(?:under (?:the|a|an) )?creative commons (?:legal code )?(attribution[a-z ]{0,40}?)(?: license)?"
    r"(?: public license)?(?: version)? ([1-4]\.[05])"
)
_GNU_TITLE = re.compile(
    r"gnu (?P<family>general public|lesser general public|library general public|affero general public|"
    r"free documentation) license(?: gnu [a-z ]{5,30} license)? version (?P<version>[1-3](?:\.\d)?) (?:\d+ )?"
    r"(?:june|february|november|march|january) (?:\d+ )?(?:19|20)\d\d"
)
_GNU_MENTION = re.compile(
    r"(?:gnu )?(?P<family>lesser general public|library general public|affero general public|general public|"
    r"lesser or library general public|library or lesser general public|lesser gpl|"
    r"free documentation|(?<=gnu )public|lgpl|agpl|gpl|gfdl)(?: licen[sc]es?)?(?: agpl| lgpl| gpl| gfdl)?"
    r"(?P<version> ?(?:v|version|versions|license version)? ?(?P<number>[1-3](?:\.[0-9])?)(?P<plus>\+)?(?!\d))?"
)
_GRANT_BEFORE = re.compile(
    r"(?:under (?:the )?(?:terms (?:and conditions )?(?:of )?)?(?:either )?(?:the )?(?:the |a |an )?|"
    r"terms of (?:either )?(?:the |an? )?|"
    r"licen[sc]ed? (?:under )?(?:the |as |is )?|covered by (?:the )?|using the |subject to the (?:terms of the )?|"
    r"either version [123][0-9. ]* of the |conditions of the |version [123][0-9. ]* of the )\Z"
)
_GNU_VERSION = re.compile(r"(?:either )?\b(?:version|v) ?([1-3](?:\.\d)?)\b")
_OR_LATER = re.compile(
    r"\bor (?:at your option |if you wish )?(?:any )?(?:later|newer|greater)|\d\+|or at your choice any later"
)
_CHOICE = re.compile(
    r"dual licen[sc]|dually licen[sc]|tri licen[sc]|under (?:the terms of )?(?:either|any one|one) (?:of )?|"
    r"at your (?:choice|option) (?:under|of|either)|"
    r"alternatively (?:this|the|you|it)|(?:license|licence|2.0|mit|bsd|apache) or (?:the )?(?:gnu|gpl|mit|bsd|"
    r"apache|lgpl)"
)
_TEXT_END = ("how to apply these terms to your", "end of terms and conditions", "addendum how to use this license")


def _grant_marks(text: str, base: int, whole: bool = False) -> list[Finding]:
    """Licence texts and notices in `text`, which stands `base` code points into the content."""
    words = _Words(text, base)
    found: dict[str, tuple[int, int]] = {}
    for spdx_id, (anchor, *others), absent in _texts():
        place = words.text.find(anchor)
        if place < 0 or spdx_id in found:
            continue
        near = words.text[max(0, place - 300) : place + 3500]
        if all(phrase in near for phrase in others) and not any(phrase in near for phrase in absent):
            found[spdx_id] = (place, place + len(anchor))
    for title in _CC_TITLE.finditer(words.text):
        if (whole or title[0].startswith("under")) and (named := _cc_in_words(title[0])):
            found.setdefault(named, title.span())
    if whole and "this creative commons public license" in words.text and (code := _cc_legal_code(words.text)):
        place = words.text.find("this creative commons public license")
        found.setdefault(code, (place, place + 36))
    found.update(_gnu_marks(words.text))
    if not found:
        return []
    # A text of one licence names others: what it says of them is not a grant.
    names = list(found)
    for host, guests in (
        ("MPL-2.0", ("GPL", "LGPL", "AGPL")),
        ("EPL-2.0", ("GPL", "LGPL")),
        ("EUPL-1.2", ("GPL", "LGPL", "AGPL", "MPL", "EPL", "LPPL")),
        ("Artistic-2.0", ("GPL",)),
        ("PSF-2.0", ("GPL", "HPND", "CNRI", "ISC")),
        ("Artistic-1.0-Perl OR GPL-1.0-or-later", ("GPL", "Artistic", "LGPL")),
        ("PHP-3.01", ("BSD",)),
        ("OFL-1.1", ("GPL",)),
        ("wxWindows", ("GPL", "LGPL")),
        ("LPPL-1.3c", ("GPL",)),
        ("ZPL-2.1", ("BSD",)),
        ("Ruby", ("GPL",)),
        ("FSL-1.1-MIT", ("MIT",)),
        ("FSL-1.1-ALv2", ("Apache",)),
    ):
        if host in found and (whole or host.startswith("Artistic-1")):
            names = [name for name in names if name == host or not name.startswith(tuple(g + "-" for g in guests))]
    start, end = words.place(*min(found[name] for name in names))
    if len(names) > 1:
        choice = _offers_choice(words.text, [found[name][0] for name in names])
        expression = (" OR " if choice else " AND ").join(f"({name})" if " " in name else name for name in names)
        names = [_render(expression)]
    return [_finding(names[0], "license-text", start, end, 0.95 if whole else 0.9)]


def _offers_choice(text: str, places: Sequence[int]) -> bool:
    """Whether the licences at `places` are alternatives: two or three, close together, with words of choice beside.

    A file of third-party notices names many and says "either" somewhere; as a choice it would make GPL permissive.
    """
    first, last = min(places), max(places)
    if len(places) > 3 or last - first > 2500:
        return False
    return _CHOICE.search(text, max(0, first - 400), min(len(text), first + 600)) is not None


def _gnu_marks(text: str) -> dict[str, tuple[int, int]]:
    """GNU licences that `text` (words) is, or that its notices grant: the notice first, it knows of later versions."""
    titled: dict[str, tuple[str, int, int]] = {}
    titles = list(_GNU_TITLE.finditer(text))
    for title in titles:
        titled.setdefault(_GNU_FAMILIES[title["family"]], (_gnu_version(title["version"]), title.start(), title.end()))
    limit = titles[0].start() if titles else len(text)
    best: dict[str, tuple[int, str, int, int]] = {}  # family -> how much the mention says, id, place
    for mention in _GNU_MENTION.finditer(text, 0, limit):
        before = text[max(0, mention.start() - 80) : mention.start()]
        if not _GRANT_BEFORE.search(before):
            continue
        name = mention["family"].replace("or ", "")
        family = next((value for key, value in _GNU_FAMILIES.items() if key in name), "GPL")
        after = text[mention.end() : mention.end() + 170]
        next_mention = _GNU_MENTION.search(after)
        if next_mention and next_mention.start() > 0:
            after = after[: next_mention.start()]
        version, later = mention["number"], bool(mention["plus"])
        if version is None:
            number = _GNU_VERSION.search(after) or _last(_GNU_VERSION, before[-40:])
            version = number[1] if number else None
        later = later or bool(_OR_LATER.search(after)) or bool(version and _OR_LATER.search(before[-60:]))
        said = 2 * (version is not None) + later
        suffix = "or-later" if later or version is None else "only"
        spdx_id = _known(f"{family}-{_gnu_version(version) if version else _GNU_FIRST[family]}-{suffix}")
        if spdx_id is None:
            spdx_id = f"{family}-{_GNU_FIRST[family]}-or-later"
        if family not in best or said > best[family][0]:
            best[family] = (said, spdx_id, mention.start(), mention.end())
    found = {}
    for _, spdx_id, start, end in best.values():
        if "special exception" in text and "bison parser skeleton" in text:
            spdx_id += " WITH Bison-exception-2.2"
        elif "generated by autoconf" in text and "special exception" in text:
            newer = "autoconf configure script exception version 3.0" in text
            spdx_id += f" WITH Autoconf-exception-{'3.0' if newer else '2.0'}"
        elif "special exception" in text and "with the openssl library" in text:
            spdx_id += " WITH openvpn-openssl-exception"
        elif "built using gnu libtool" in text:
            spdx_id += " WITH Libtool-exception"
        elif "special exception the copyright holders" in text and "link this library with independent modules" in text:
            spdx_id += " WITH Classpath-exception-2.0"
        found[spdx_id] = (start, end)
    if titled:
        family = min(titled, key=lambda family: titled[family][1])  # the outer text comes first
        if family not in best:
            version, start, end = titled[family]
            spdx_id = _known(f"{family}-{version}-only")
            if spdx_id:
                found[spdx_id] = (start, end)
    return found


def _cc_legal_code(text: str) -> str | None:
    """The Creative Commons 3.0 licence whose legal code, without its title, this is: by what its clauses allow."""
    if "adaptation" not in text:
        return None
    elements = ["BY"]
    if "primarily intended for or directed toward commercial advantage" in text:
        elements.append("NC")
    if "with the same license elements as this license" in text:
        elements.append("SA")
    elif "to create and reproduce adaptations" not in text:
        elements.append("ND")
    return _cc_id("-".join(elements), "3.0", None)


def _gnu_version(number: str) -> str:
    return number if "." in number else number + ".0"


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(iter(reversed(list(pattern.finditer(text)))), None)


# ---------------------------------------------------------------------------------------------------------------------
# Source files and READMEs
# ---------------------------------------------------------------------------------------------------------------------

_COMMON_LICENSES = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*[A-Za-z0-9+])")
_PUBLIC_DOMAIN = re.compile(r"\b(?:in(?:to)?|is|as|to) (?:the )?public[ -]domain\b", re.IGNORECASE)


def _license_file_marks(content: str) -> list[Finding]:
    """A file that is a licence, or that says in few words which one applies."""
    marks = list(_spdx_tags(content[:2000])) or _grant_marks(content, 0, whole=True)
    if not marks:
        for found in _COMMON_LICENSES.finditer(content[:5000]):  # Debian keeps the common texts there
            if name := parse_declared(found[1]):
                return [_finding(name, "license-text", *found.span(), 0.8)]
    if not marks:
        marks = list(_named_marks(content[:5000], 0))
    if not marks and len(content) < 1500:
        for found in _PUBLIC_DOMAIN.finditer(content):
            if not re.search(r"\bnot\b|n't", content[max(0, found.start() - 40) : found.end()]):
                return [_finding("LicenseRef-public-domain", "license-text", *found.span(), 0.7)]
    return marks


_HEADER_CHARS = 12_000  # about a hundred lines
_TAIL_CHARS = 4_000  # Perl and POD put the licence last
_SPDX_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([^\n\r]{2,200})")
_LICENSE_LINE = re.compile(
    r"^[ \t]*(?:[/*#;%!.\"'-]+[ \t]*)?[@_]{0,2}licen[sc]e_{0,2}(?:[ \t]*[:=]|[ \t]{1,3}(?!-))[ \t]*"
    r"[\"'(]*([A-Za-z0-9][^\n\"'{}<>]{1,90}?)[\"')]*[ \t]*(?:\*/[ \t]*)?[,;.]?$",
    re.IGNORECASE | re.MULTILINE,
)
# `MIT Licensed` on a line of its own in a comment, and the like.
_LEADING_LICENSE = re.compile(
    r"(?:^[ \t]*[*/#;|!\"'(-]*[ \t]*|\| |free software: |uses the  ?|@licen[sc]e[ \t]+|subject to the |"
    r"under:?\s+(?:an?\s+|the\s+)?)"
    r"((?:the )?(?:MIT|ISC|Expat|Apache(?:[ -]?(?:v\.?|version )?2(?:\.0)?(?: open source)?)?|(?:(?:new|modified|"
    r"simplified|[23]-clause) )?BSD"
    r"(?:[ -][23][ -]clause)?)(?: \(?X11\)?)?(?:[ -]style)?) licen[cs]ed?\b(?! compatible)",
    re.IGNORECASE | re.MULTILINE,
)
_UNDER = re.compile(
    r"\b(?:licen[sc]ed|released|distributed|published|available|provided|dual[- ]licensed)[^.\n]{0,30}?\b(?:under|"
    r"with)\s+"
    r"(?:the\s+|an?\s+)?(?:terms\s+of\s+(?:the\s+)?)?[\"'`*_\[(]*"
    r"([A-Za-z0-9][A-Za-z0-9 .,+/()-]{1,60}?)[\"'`*_\])]*(?:'s)?(?:,?\s+(?:free\s+|open[- ]source\s+)?"
    r"(?:software\s+)?licen[sc]es?\b|[.;\n]|$|\]\(|,? see\b|\s*<)",
    re.IGNORECASE,
)


def _source_marks(content: str) -> list[Finding]:
    header = content[:_HEADER_CHARS]
    tags = list(_spdx_tags(header))
    marks = tags[:]
    tail_at = max(_HEADER_CHARS, len(content) - _TAIL_CHARS)
    parts = [(header, 0)] + ([(content[tail_at:], tail_at)] if tail_at < len(content) else [])
    for part, base in parts:
        grants = _grant_marks(part, base)
        if not grants:
            grants = list(_named_marks(part, base))
        marks += grants
        if grants:
            break
    for found in _CC_URL.finditer(header):
        if re.search(r"licen[sc]|commons", header[max(0, found.start() - 300) : found.start()], re.IGNORECASE):
            if expression := _cc_id_of_url(found):
                marks.append(_finding(expression, "cc-mark", found.start(), found.end(), 0.8))
            break
    if tags:  # the tag is the file's own word; a text beside it counts only if it is stricter
        return tags + [mark for mark in marks[len(tags) :] if _strictness(mark) > max(map(_strictness, tags))]
    return marks


def _spdx_tags(text: str) -> Iterator[Finding]:
    for tag in _SPDX_TAG.finditer(text):
        written = tag[1].split("*/")[0].split("-->")[0].strip(" \t*/#\"'\\;,.")
        try:
            parsed = _licensing().parse(written, validate=False)
        except Exception:  # as in parse_declared
            continue
        if parsed is None or _licensing().unknown_license_keys(parsed):
            expression = parse_declared(written)
        else:
            expression = str(parsed)
        if expression:
            yield _finding(expression, "spdx-tag", tag.start(), tag.start(1) + len(written), 1.0)


_BORROWED = re.compile(
    r"\b(?:based on|borrowed|taken from|adapted from|extracted|copied|derived from|ported from|third[- ]party|"
    r"bundled|vendored)\b",
    re.IGNORECASE,
)


def _named_marks(text: str, base: int) -> Iterator[Finding]:
    """Licences named as the document's own: `License: MIT`, `released under the MIT License`, `MIT Licensed`."""
    for pattern in (_LICENSE_LINE, _UNDER, _LEADING_LICENSE):
        named = False
        for found in itertools.islice(_matches(pattern, text), 50):
            if _BORROWED.search(text, max(0, found.start() - 250), found.start()):
                continue
            if expression := _name_in(found[1], dual="dual" in found[0].lower()):
                named = True
                yield _finding(expression, "license-text", base + found.start(), base + found.end(), 0.8)
        if named:
            return


_UNDER_VERB = re.compile(r"\b(?:licen[sc]ed|released|distributed|published|available|provided|dual)", re.IGNORECASE)
_MAX_VERBS = 200


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """As `finditer`; the pattern that tries most is tried only at the first verbs."""
    if pattern is not _UNDER:
        yield from pattern.finditer(text)
        return
    end = 0
    for verb in itertools.islice(_UNDER_VERB.finditer(text), _MAX_VERBS):
        if verb.start() >= end and (found := pattern.match(text, verb.start())):
            end = found.end()
            yield found


def _name_in(written: str, dual: bool = False) -> str | None:
    """A licence out of a value that may hold an address, a remark or `style` beside the name."""
    name = re.sub(r"\s+", " ", written).strip()
    without_address = re.sub(r"https?://\S+", "", name).strip(" ()")
    if dual:
        without_address = re.sub(r"(?i) and ", " or ", without_address)
    without_style = re.sub(r"[ -]style\b", "", without_address, flags=re.IGNORECASE)
    for candidate in (without_address, without_style, without_style.split(" (")[0], name.split(" ")[0]):
        if candidate and (expression := parse_declared(candidate)):
            return expression
    return None


_HEADING = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]*(?:[\w&/ ]{0,20} )?(?:the )?(?:un)?licen[sc](?:e|ing)\b[^\n]{0,40}|"
    r"(?:copyright (?:and|&) )?licen[sc](?:e|ing)(?: information)?:?[ \t]*\n[ \t]*[=~\-*^]{3,}|"
    r"<h\d[^>]*>[^<\n]{0,20}licen[sc]e[^<\n]{0,20}</h\d>)",
    re.IGNORECASE | re.MULTILINE,
)
_NEXT_HEADING = re.compile(r"\n[ \t]*#{1,6}[ \t]|\n[^\n]{2,80}\n[ \t]*[=~\-]{3,}[ \t]*\n|<h\d")
_FIRST_NAME = re.compile(
    r"\b((?:the )?(?:MIT|ISC|Apache|BSD|[23]-clause BSD|GNU|A?L?GPL|MPL|Mozilla Public|Unlicense|Zlib|WTFPL|CC0|"
    r"CC[- ]BY|"
    r"Creative Commons|Boost|Artistic|Eclipse|EPL|PSF|Zope|ZPL|Blue ?Oak|0BSD|AFL|public domain)[^\n|*_`\[\]]{0,50})",
    re.IGNORECASE,
)
_BADGE = re.compile(
    r"licen[sc]e[-/](?:%20)?([A-Za-z0-9.+%_ ]+?(?:--[0-9.A-Za-z]+)*)-(?:[a-z]+|[0-9a-f]{3,6})\.svg", re.IGNORECASE
)
_SHORT_LINE = re.compile(
    r"^[ \t*_>-]*((?:MIT|ISC|Apache|BSD)[^\n]{0,20}?(?:licen[sc]ed?)?)[ \t]*(?:©|\(c\)|copyright)[^\n]*$", re.I | re.M
)


def _readme_marks(content: str) -> list[Finding]:
    """A README speaks for its package in its licence section, failing that in a line, a sentence or a badge."""
    marks: list[Finding] = []
    for heading in itertools.islice(_HEADING.finditer(content), 50):
        end = _NEXT_HEADING.search(content, heading.end())
        stop = min(end.start() if end else len(content), heading.end() + 4000)
        section = content[heading.end() : stop]
        inline = heading[0].split(":", 1)
        named = _names_in_section(section, inline[1].strip(" *_`") if len(inline) == 2 else "")
        if named:
            marks.append(_finding(named, "license-text", heading.start(), stop, 0.85))
        marks += _grant_marks(section, heading.end())
    if marks:
        return marks
    for pattern in (_SHORT_LINE, _BADGE):
        if not marks:
            for found in pattern.finditer(content):
                spelled = found[1].replace("--", "-").replace("%20", " ").replace("_", " ").strip()
                if named := parse_declared(spelled):
                    marks.append(_finding(named, "license-text", *found.span(), 0.75))
        if not marks:
            marks = list(_named_marks(_MARKUP.sub(lambda markup: " " * len(markup[0]), content), 0))[:1]
    return marks or _text_marks(content)


_MARKUP = re.compile(r"\]\([^)\n]*\)|\]\[[^\]\n]*\]|[*_`\[\]]")


def _names_in_section(section: str, inline: str) -> str | None:
    """The licence, or licences, that a licence section names."""
    if inline and (named := parse_declared(inline)):
        return named
    text = re.sub(
        r"\]\([^)]*\)|^\s*\[[^\]]*\]: .*$|<[^>\s]*>`?_?|[*_`\[\]\"“”]", " ", section[:1500], flags=re.MULTILINE
    )
    text = re.sub(r"[ \t]+", " ", text).strip(" -:=~\n")
    dual = bool(re.search(r"\bdual|\beither\b|at your (?:choice|option)", text, re.IGNORECASE))
    names = {found.spdx for found in _named_marks(text + "\n", 0)}
    if not names:
        leading = _leading_name(re.sub(r"https?://\S+", " ", text).replace("\n", " ; "))
        return leading
    return _render((" OR " if dual else " AND ").join(f"({name})" for name in sorted(filter(None, names))))


def _leading_name(section: str) -> str | None:
    """The licence that a licence section opens with: `MIT © Jane`, `ISC. Go nuts.`, `The MIT License (MIT)`."""
    opening = re.split(
        r"(?<!\bv)[.;](?: |\Z)| ; |©|\(c\)| see |copyright|, | - | – ", section[:160] + " ", flags=re.IGNORECASE
    )[0]
    words = opening.split()
    for count in range(min(len(words), 9), 0, -1):
        if named := parse_declared(" ".join(words[:count])):
            return named
    found = _FIRST_NAME.search(section[:160])
    if found and found.start() < 60:
        words = found[1].split()
        for count in range(min(len(words), 7), 0, -1):
            if named := parse_declared(" ".join(words[:count]).strip(" ,.()")):
                return named
    return None


# ---------------------------------------------------------------------------------------------------------------------
# Text of pages: sentences that license or reserve
# ---------------------------------------------------------------------------------------------------------------------

_RESERVED_PHRASES = (
    "all rights? (?:are )?reserved|alle rechte (?:sind )?vorbehalten|tous droits (?:de reproduction )?réservés|"
    "(?:todos )?los derechos reservados|tutti i diritti (?:sono )?riservati|todos os direitos reservados|"
    "alle rechten voorbehouden|wszelkie prawa zastrzeżone|все права защищены|усі права захищено|"
    "всички права запазени|"
    "všechna práva vyhrazena|všetky práva vyhradené|minden jog fenntartva|toate drepturile (?:sunt )?rezervate|"
    "alla rättigheter (?:är )?(?:förbehållna|reserverade)|alle rettigheter (?:er )?(?:forbeholdt|reservert)|"
    "kaikki oikeudet pidätetään|sva prava (?:pridržana|zadržana)|vse pravice pridržane|tüm hakları saklıdır|"
    "με επιφύλαξη παντός δικαιώματος|tots els drets reservats|bảo lưu mọi quyền|hak cipta dilindungi|"
    "版权所有|版權所有|保留所有权利|保留所有權利|保留一切權利|無断転載|無断複写|모든 권리 보유|무단 ?전재|"
    "جميع الحقوق محفوظة|"
    "کلیه حقوق|تمامی حقوق|כל הזכויות שמורות|सर्वाधिकार सुरक्षित|สงวนลิขสิทธิ์"
)
_GATE = re2.compile(
    r"(?i)licen[csz]|lizenz|licenc|licença|лиценз|ліценз|lisans|lisens|ライセンス|许可|許可|授權|授权|라이선스|"
    rf"{_CC_NAMES}|creativecommons|"
    r"\bcc[ -]?by\b|cc0|public domain|permission (?:is|to)|redistribution and use|"
    r"redistribute it|free documentation|gfdl|data[ -]?mining|fouille de (?:textes|données)|minería de|2019/790|"
    r"artificial intelligence|machine learning|(?-i:\bAI\b|\bKI\b)|language models?|same terms as perl|unencumbered|"
    + _RESERVED_PHRASES
)
_RESERVED = re2.compile("(?i)" + _RESERVED_PHRASES)
_COPYRIGHT_SIGN = re.compile(r"©|\(c\)|copyright|&copy;|\b(?:19|20)\d\d\b|copr\.|™|®", re.IGNORECASE)
_TDM = re2.compile(
    r"(?i)text[ -]?(?:and|&|und|et|y|e)?[ -]?data[ -]?mining|text- und data-?mining|fouille de textes|"
    r"minería de (?:textos|datos)|2019/790|\bTDM\b"
)
_REPORTS = re.compile(r"\b(?:said|announced|reported|sued|lawsuit|court)\b", re.IGNORECASE)
_AI_USE = re2.compile(
    r"(?i)(?:train|develop|teach|feed|improv|learn|scrap|entraîn|entren|trenow|Training|обуч)\w*[^.!?\n]{0,90}?"
    r"(?:artificial intelligence|machine[- ]learning|\bA\.?I\.?\b|\bKI\b|(?:large )?language models?|\bLLMs?\b|"
    r"generative|"
    r"intelligence artificielle|inteligencia artificial|künstliche\w* intelligenz)|"
    r"(?:artificial intelligence|machine[- ]learning|\bAI\b|\bKI\b|language models?)[^.!?\n]{0,60}?(?:training|"
    r"Training|crawl|scrap)"
)
_FORBIDS = re.compile(
    r"prohibit|forbidden|\bno part of|not (?:be )?(?:permitted|allowed|used|authori[sz]ed)|may not|must not|shall not|"
    r"do not (?:permit|allow|consent|use)"
    r"|without (?:\w+ ){0,4}(?:permission|consent|authori[sz]ation)|reserv|opt(?:s|ed)?[- ]out|vorbehalten|"
    r"vorbehalt|untersagt|"
    r"nicht (?:gestattet|erlaubt)|verboten|interdit|réserv|prohib|reservad|vietat|riservat|zabron|zastrze|запрещ|"
    r"verboden|禁止",
    re.IGNORECASE,
)
_OWN = re.compile(
    r"\b(?:this|these|our|all|the) (?:entire |whole |written |original )?(?:work|page|site|website|web site|wiki|"
    r"blog|article|post|text|texts|content|contents|material|"
    r"document|documentation|book|publication|translation|story|paper|report|tutorial|manual|guide|lesson|file|"
    r"podcast|episode)s?\b|"
    r"except where|unless (?:otherwise|stated)|sauf (?:mention|indication)|salvo (?:donde|indicación|que|diversa)|"
    r"sofern nicht anders|soweit nicht anders|wenn nicht anders|"
    r"\bdiese[srnm]? (?:werk|text|seite|artikel|beitrag|blog|website|inhalt|arbeit|dokument)|alle (?:inhalte|"
    r"texte|beiträge)|inhalte? (?:dieser|dieses|der|des|ist|sind|steh)|"
    r"\b(?:ce|cet|cette|ces|le) (?:texte|contenu|site|page|article|œuvre|oeuvre|document)|contenu|"
    r"\b(?:este|esta|esto|el) (?:obra|texto|contenido|sitio|artículo|página|documento|conteúdo|trabalho|artigo)|"
    r"\bquest[oa']? ?(?:opera|testo|sito|pagina|articolo)|\b(?:deze|dit) (?:tekst|werk|pagina|site|artikel)|"
    r"\b(?:ten|ta|to) (?:tekst|utwór|strona|artykuł)|content (?:is )?(?:available|licensed|on this|under)|"
    r"text is available|except as noted",
    re.IGNORECASE,
)
_OTHERS = re.compile(
    r"\b(?:image|images|photo|photos|photograph|photographs|photography|picture|pictures|figure|fig\.|"
    r"illustration|icon|icons|logo|video|videos|music|sound|audio|song|font|"
    r"fonts|map|maps|tiles|theme|template|plugin|software|code|script|library|library's|dataset|data set|data|"
    r"package|program|"
    r"bild|bilder|foto|fotos|grafik|abbildung|titelbild|beitragsbild|header-?bild|quelle|karte|imagen|imágenes|"
    r"fotografía|immagine|immagini|zdjęcie|"
    r"фото|изображени\w*|flickr|wikimedia commons|openstreetmap|unsplash|pixabay|via)\b|画像|写真|图片|圖片",
    re.IGNORECASE,
)
_TALKS = re.compile(
    r"\?|\b(?:such as|e\.g\.|for example|for instance|z\.\s?b\.|zum beispiel|par exemple|por ejemplo|if you|"
    r"you (?:can|could|may|should) (?:choose|use|find|search|license)|"
    r"types? of|kinds? of|explain\w*|learn more about|what is|compar\w+|compatible|incompatible|versus|vs\.?|"
    r"unlike|introduced|launched|founded|organi[sz]ation|"
    r"many|some|most|other (?:sites|works|authors)|websites? (?:that|which)|search for|look for|find (?:images|"
    r"photos)|how to|choose|recommend\w*|should|"
    r"would|might|was|were|had|their|his|her|its own|nicht unter|not (?:under|licensed|available)|instead of|"
    r"rather than|switch\w*|consider\w*|"
    r"suggest\w*|require\w*|asks?|wants?)\b",
    re.IGNORECASE,
)
_LICENSES = re.compile(
    r"licen[sc]|lizen[sz]|licenc|licença|лиценз|ліценз|lisans|lisens|ライセンス|许可|許可|授權|授权|라이선스|released|published|"
    r"available|"
    r"distributed|shared|waived|dedicated|under|unter|sous|bajo|sob\b|sotto|onder|na\b|по\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[\n\r]|[.!?](?=\s+[^\sa-zà-ÿа-яёα-ω\d])|[。！？।۔။።։]|؟")
_WINDOW = 400  # code points to each side of a gate hit
_MAX_HITS = 200
_SIDE_MARKS = 20  # looked at from each end of a page; one with more of them is a list
_TAIL_WINDOW = 8_000


def _text_marks(content: str, extracted: bool = False) -> list[Finding]:
    """Marks in running text, each with the sentence it stands in; `extracted` when lines are all the structure left."""
    marks: list[Finding] = list(_statement_marks(content)) if extracted else []
    for start, end in _windows(content):
        window = content[start:end]
        if not extracted:
            marks += _cc_marks(window, start)
        marks += _dedication_marks(window, start)
        marks += _reserved_marks(window, start)
        marks += _notice_marks(content, start, end)
    return marks


def _windows(content: str) -> Iterator[tuple[int, int]]:
    """Ranges around the gate's hits: the first ones and those near the end, where pages say their licence."""
    for first, last in ((0, len(content)), (len(content) - _TAIL_WINDOW, len(content))):
        if first < 0:
            return
        begin = end = -1
        for hit in itertools.islice(_GATE.finditer(content, first, last), _MAX_HITS):
            if end >= 0 and hit.start() - _WINDOW <= end:
                end = min(len(content), hit.end() + _WINDOW)
                continue
            if end >= 0:
                yield begin, end
            begin, end = max(0, hit.start() - _WINDOW), min(len(content), hit.end() + _WINDOW)
        if end >= 0:
            yield begin, end
        if end >= last - _TAIL_WINDOW:
            return


def _sentence(text: str, start: int, end: int) -> tuple[int, int]:
    """The sentence or line around a range, at most 300 code points to each side."""
    begin = max(0, start - 300)
    for found in _SENTENCE_END.finditer(text, begin, start):
        begin = found.end()
    stop = _SENTENCE_END.search(text, end, min(len(text), end + 300))
    return begin, stop.start() if stop else min(len(text), end + 300)


def _speaks_for_the_page(sentence: str) -> bool:
    """Whether a sentence that names a licence puts the page under it."""
    if _TALKS.search(sentence):
        return False
    own, others = _OWN.search(sentence), _OTHERS.search(sentence)
    if others and (own is None or others.start() < own.start()):
        return False
    if own:
        return bool(_LICENSES.search(sentence))
    # Without a subject: a label such as "Licence: CC BY 4.0" or "Licensed under ...".
    return len(sentence.strip()) < 160 and bool(
        re.match(
            r"\W*(?:©[^.]{0,60}\W)?(?:licen[sc]|lizen|released|published|available|lisens|lisans|лиценз|ライセンス)",
            sentence,
            re.I,
        )
    )


_DEDICATION = re.compile(
    r"waived all copyright|waives? all (?:his|her|their|its)? ?(?:copyright|rights)|"
    r"(?:dedicated|released|placed) (?:in)?to the public domain|is in the public domain",
    re.IGNORECASE,
)


def _cc_marks(window: str, base: int) -> Iterator[Finding]:
    seen_to = -1
    for found in itertools.islice(_CC_NAME.finditer(window), 4 * _SIDE_MARKS):
        if found.start() < seen_to:
            continue
        begin, stop = _sentence(window, found.start(), found.end())
        sentence = window[begin:stop]
        seen_to = stop
        if not _speaks_for_the_page(sentence):
            continue
        url = _CC_URL.search(window, found.start(), min(len(window), stop + 120))
        expression = _cc_in_words(window[found.start() : min(stop, found.start() + 160)])
        by_url = _cc_id_of_url(url) if url else None
        if by_url and (expression is None or by_url != expression):
            expression = (
                by_url if expression is None or _restrictiveness(by_url) >= _restrictiveness(expression) else expression
            )
        if expression:
            yield _finding(expression, "cc-mark", base + found.start(), base + min(stop, found.start() + 160), 0.8)


def _dedication_marks(window: str, base: int) -> Iterator[Finding]:
    if "CC0" in window or "public domain" in window.lower():
        for found in itertools.islice(_DEDICATION.finditer(window), _SIDE_MARKS):
            begin, stop = _sentence(window, found.start(), found.end())
            if not _TALKS.search(window[begin:stop]) and (
                _OWN.search(window[begin:stop]) or "CC0" in window[begin:stop]
            ):
                spdx_id = "CC0-1.0" if "CC0" in window[begin : stop + 60] else "LicenseRef-public-domain"
                yield _finding(spdx_id, "cc-mark", base + begin, base + stop, 0.7)


# ---------------------------------------------------------------------------------------------------------------------
# Extracted text: lines are all the structure left
# ---------------------------------------------------------------------------------------------------------------------

_CC_STATEMENT = re.compile(
    r"(?<![A-Za-z0-9])CC[ \u2010-\u2013-]{0,2}(?:(?P<zero>0|zero)(?![A-Za-z])|"
    r"BY(?P<elements>(?:[ \u2010-\u2013-]{1,3}(?:NC|ND|SA)){0,2})(?![A-Za-z]))"
    r"(?:[ \u2010-\u2013-]{0,2}(?:v\.? ?)?(?P<number>[1-4]\.[05])(?!\d))?"
    r"(?:[ -](?P<port>DE|AT|CH|US|UK|FR|IT|ES|NL|AU|BR)\b)?|"
    r"(?:https?:)?(?://)?(?:www\.)?creativecommons\.org/(?:licen[sc]es/(?:by|publicdomain)|publicdomain/)"
    r"[^\s<>\"')\]]{0,60}|"
    rf"(?:{_CC_NAMES})",
    re.IGNORECASE,
)
_SHORT = 200  # code points of a notice; longer sentences tell a story
_EDGE_LINES = 4
_QUOTES = tuple("“”\"«»„'‘’”「『")
_SPACED = re.compile(r"[\W\d_a-z\u00c0-\u024f\u1e00-\u1eff\u0370-\u03ff\u0400-\u058f\u10a0-\u10ff]+", re.IGNORECASE)
_LETTERS = re.compile(r"[^\W\d_]+")
_BEYOND_SPACED = re.compile(r"[\u0590-\u109f\u1100-\u1dff\u2e80-\uffff]")


class _Lexicon:
    """The lists' `[words]` of one concept; a set of words costs the same however many languages it speaks."""

    def __init__(self, words: Iterable[str]):
        spaced = [word.lower() for word in words if _SPACED.fullmatch(word.replace("*", ""))]
        joined = [word for word in words if not _SPACED.fullmatch(word.replace("*", ""))]
        phrases = [re.escape(word.rstrip("*")) for word in spaced if not _LETTERS.fullmatch(word.rstrip("*"))]
        self._exact = frozenset(word for word in spaced if not word.endswith("*"))
        self._stems = frozenset(word[:-1] for word in spaced if word.endswith("*"))
        self._lengths = sorted({len(stem) for stem in self._stems})
        self._phrases = re.compile(rf"(?<!\w)(?:{'|'.join(phrases)})(?!\w)") if phrases else None
        self._joined = re.compile("|".join(map(re.escape, joined)))

    def find(self, text: str) -> int:
        """Where the first of the words stands, -1 when none does."""
        text = text.lower()
        places = []
        for word in _LETTERS.finditer(text):
            if word[0] in self._exact or any(word[0][:length] in self._stems for length in self._lengths):
                places.append(word.start())
                break
        if self._phrases and (phrase := self._phrases.search(text)):
            places.append(phrase.start())
        if _BEYOND_SPACED.search(text) and (joined := self._joined.search(text)):
            places.append(joined.start())
        return min(places, default=-1)

    def has(self, text: str) -> bool:
        """Whether one of the words is in the text."""
        return self.find(text) >= 0


@functools.cache
def _words(concept: str) -> _Lexicon:
    return _Lexicon(_lists()["words"][concept])


def _statement_marks(content: str) -> Iterator[Finding]:
    """Creative Commons marks in extracted text that speak for the page.

    A mark counts when its sentence names the page or its text ("this recipe", "all contents"), or when it stands where
    pages put a notice, in the first or last lines, in a short line. The rule is not symmetric: a restriction needs no
    word that we know beside it, a permission needs a licence word or a copyright sign, and both yield to talk,
    quotation, several licences side by side and to what belongs to others (pictures, data, software).
    """
    in_windows = (mark for start, end in _windows(content) for mark in _CC_STATEMENT.finditer(content, start, end))
    found = sorted({mark.start(): mark for mark in in_windows}.values(), key=lambda mark: mark.start())
    if len(found) > 2 * _SIDE_MARKS:
        found = found[:_SIDE_MARKS] + found[-_SIDE_MARKS:]
    if not found:
        return
    head, foot = _edges(content)
    named = [_statement_id(content, mark, found[k + 1] if k + 1 < len(found) else None) for k, mark in enumerate(found)]
    for number, mark in enumerate(found):
        spdx_id, explicit = named[number]
        if spdx_id is None:
            continue
        begin, stop = _sentence(content, mark.start(), mark.end())
        near = {
            named[k][0] for k in range(max(0, number - 4), min(len(found), number + 5))
            if named[k][0] and abs(found[k].start() - mark.start()) < 500
        }  # fmt: skip
        after = found[number - 1].end() if number and found[number - 1].end() > begin else begin
        before_next = (
            found[number + 1].start() if number + 1 < len(found) and found[number + 1].start() < stop else stop
        )
        edge = mark.start() < head or mark.start() >= foot
        if _notifies(content, mark, (begin, stop), (after, before_next), spdx_id, explicit, edge, len(near)):
            end = max(mark.end(), min(stop, mark.start() + 160))
            yield _finding(spdx_id, "cc-mark", mark.start(), end, 0.8)


def _edges(content: str) -> tuple[int, int]:
    """Where the first lines end and where the last ones begin."""
    head = 0
    for _ in range(_EDGE_LINES - 1):
        head = content.find("\n", head) + 1
        if not head or head > 1_000:
            head = min(len(content), 300)
            break
    foot = len(content.rstrip())
    for _ in range(_EDGE_LINES):
        above = content.rfind("\n", 0, foot)
        if above < 0 or above < len(content) - 800:
            break
        foot = above
    return head, min(foot, max(0, len(content) - 200))


def _statement_id(content: str, mark: re.Match[str], following: re.Match[str] | None) -> tuple[str | None, bool]:
    """The licence a mark names, and whether it names it in full."""
    line_end = content.find("\n", mark.end(), mark.end() + 160)
    rest = content[mark.start() : line_end if line_end >= 0 else mark.start() + 160]
    if mark["zero"]:
        return "CC0-1.0", True
    if "creativecommons.org/" in mark[0].lower():
        url = _CC_URL.search(mark[0])
        return (_cc_id_of_url(url), True) if url else (None, False)
    if mark["elements"] is None:
        name = _cc_in_words(rest)
        version = re.search(r"(?<![\d.])[1-4]\.[05](?!\d)", rest)
        if name and _CC_TYPE_BY.match(name) and _unknown_element(rest):
            return None, False
        return name, version is not None
    elements = set(re.findall("NC|ND|SA", mark["elements"].upper()))
    stop = following.start() if following else len(content)
    said = _SENTENCE_END.split(content[mark.end() : min(stop, mark.start() + 160)], maxsplit=1)[0]
    elements |= {name.upper() for name in ("nc", "nd") if _CC_PATTERNS[name].search(said)}
    if "ND" in elements:
        elements.discard("SA")
    kind = "-".join(["BY", *(name for name in ("NC", "ND", "SA") if name in elements)])
    return _cc_id(kind, mark["number"], mark["port"]), mark["number"] is not None


_CC_TYPE_BY = re.compile(r"CC-BY-\d")


def _unknown_element(rest: str) -> bool:
    """Whether something that may be an element in a language we do not know is joined to `Attribution`."""
    by = _CC_PATTERNS["by"].search(rest)
    joined = by and re.match(r"[^\W\d_]*\s?[-–—‑・/]\s?([^\W\d_]+)", rest[by.end() :])
    return bool(joined and not _words("license").has(joined[1]))


def _notifies(
    content: str, mark: re.Match[str], sentence: tuple[int, int], segment: tuple[int, int], spdx_id: str,
    explicit: bool, edge: bool, licenses_near: int,
) -> bool:  # fmt: skip
    """Whether a mark speaks for its page: `segment` is its part of the sentence, between the marks beside it."""
    begin, stop = sentence
    before, after = content[segment[0] : mark.start()], content[mark.end() : segment[1]]
    words = before + " \x00 " + after
    asked = words + content[stop : stop + 1]
    if before.rstrip(" (")[-1:] in _QUOTES or any(sign in asked for sign in "?？؟") or asked.rstrip().endswith(";"):
        return False
    short, this = stop - begin <= _SHORT, _words("this").has(words)
    if not short and not this:
        return False
    # The names of the elements say "not" and "no" themselves.
    plain = content[begin : mark.start()] + " \x00 " + after
    for element in ("nc", "nd", "sa"):
        plain = _CC_PATTERNS[element].sub(" ", plain)
    hedged = _words("unless").has(plain)
    if not hedged and (_words("talk").has(plain) or _TALKS.search(plain)):
        return False
    license_word = _words("license").has(words)
    subject, other = _words("text").find(words), _words("other").find(words)
    if other >= 0 and (subject < 0 or other < subject) and not (hedged and subject >= 0):
        return False
    if other < 0 and subject < 0 and _under_credits(content, begin):
        return False
    own = this or subject >= 0 or hedged
    restricted = not permissive(spdx_id)
    signed = _SIGN.search(before) is not None
    if licenses_near > 2:
        return bool(own and license_word and (edge or this))
    if licenses_near == 2 and not own and not restricted:
        return False
    if not short:
        return license_word and explicit
    if own and license_word:
        return explicit or restricted or bool(this) or edge
    if restricted:
        return edge or own or signed or _label(before)
    return explicit and edge and ((license_word and _label(before)) or signed or own)


_SIGN = re.compile(r"©|\(c\)|copyright|copyleft|🅭", re.IGNORECASE)


def _label(before: str) -> bool:
    """Whether nothing or next to nothing stands before the mark: `Licence:`, `Licensed under the terms of`."""
    return len(before.strip()) <= 60 and len(before.split()) <= 7


def _under_credits(content: str, begin: int) -> bool:
    """Whether a heading a few lines above says that what follows is owed to others."""
    above = content[max(0, begin - 400) : begin].rstrip().split("\n")[-4:]
    for line in above:
        if 0 < len(line.strip()) <= 60 and not line.rstrip().endswith((".", "。")) and _words("other").has(line):
            return True
    return False


# What takes the reservation back: headers of free software open with it.
_GRANT_FOLLOWS = re.compile(
    r"redistribut|permission (?:is|to)|licen[sc]ed under|may be (?:copied|freely|used)|free software|自由|freely|"
    r"autorisé",
    re.IGNORECASE,
)


def _reserved_marks(window: str, base: int) -> Iterator[Finding]:
    for found in itertools.islice(_RESERVED.finditer(window), 2 * _SIDE_MARKS):
        begin, stop = _sentence(window, found.start(), found.end())
        if window[max(0, found.start() - 2) : found.start()].rstrip()[-1:] in tuple("“”\"«„'‘”（(「"):
            continue  # quoted, so talked about
        if _GRANT_FOLLOWS.search(window, found.end(), found.end() + 250):
            continue
        near = window[max(begin - 60, 0, found.start() - 160) : min(len(window), found.end() + 80)]
        if _COPYRIGHT_SIGN.search(near) or stop - begin < 100:
            yield _reservation("rights_reserved", base + found.start(), base + found.end(), 0.8)
            break
    for pattern, restriction in ((_TDM, "tdm_reserved"), (_AI_USE, "no_ai")):
        for found in itertools.islice(pattern.finditer(window), 2 * _SIDE_MARKS):
            begin, stop = _sentence(window, found.start(), found.end())
            sentence = window[begin:stop]
            if _FORBIDS.search(sentence) and "?" not in sentence and not _REPORTS.search(sentence):
                yield _reservation(restriction, base + begin, base + stop, 0.8)
                break


_NOTICE_WORDS = re2.compile(
    r"(?i)permission is (?:hereby )?granted|redistribut|general public license|free documentation license|"
    r"free software|licensed under the|"
    r"released under the|under the terms|unencumbered|apache license|mit license|under a bsd|boost software"
)


_FULL_GRANT = re.compile(
    r"redistribution and use in source|permission is hereby granted,? free of charge", re.IGNORECASE
)
_THIS_IS = re.compile(
    r"permission is (?:hereby )?granted|documentation (?:is|may)|(?:is|are) (?:licensed|distributed|released)|"
    r"this (?:document|manual|documentation|page|book|work|text|file|library|program|software|is free software)",
    re.IGNORECASE,
)


def _notice_marks(content: str, start: int, end: int) -> list[Finding]:
    """GNU and other notices in the text of a page, when they speak of the text itself."""
    found = _NOTICE_WORDS.search(content[start:end])
    if not found:
        return []
    begin, stop = _sentence(content, start + found.start(), start + found.end())
    full = _FULL_GRANT.search(content, start, end)
    if full:
        begin = min(begin, full.start())
    elif _TALKS.search(content, begin, stop) or not _THIS_IS.search(content, begin, stop + 200):
        return []
    return _grant_marks(content[begin : max(begin + 3500, end)], begin)


# ---------------------------------------------------------------------------------------------------------------------
# HTML: where a mark stands
# ---------------------------------------------------------------------------------------------------------------------

_HTML = re.compile(r"<(?:!doctype|html|head|body|div|p|a|meta|span|table|article)\b", re.IGNORECASE)
# What is left open runs to the end, and values are bounded: no page takes more than linear time.
_TAG = re.compile(
    r"<!--.*?(?:-->|\Z)|<span class=\"lineno\">[^<]{0,40}</span>|"
    r"<(script|style|noscript|svg|template|select|textarea)\b[^>]{0,4000}>.*?(?:</\1\s*>|\Z)|"
    r"<(/?)([a-z][a-z0-9]*)((?:\"[^\"]{0,8000}\"|'[^']{0,8000}'|[^<>\"'])*+)>",
    re.IGNORECASE | re.DOTALL,
)
_ATTRIBUTE = re.compile(r"([a-z:-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>]+))", re.IGNORECASE)
_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
)
_FOOT = re.compile(
    r"foot|licen[sc]|copyright|legal|colophon|credits?\b|imprint|impressum|siteinfo|site-info", re.IGNORECASE
)
_SIDE = re.compile(r"sidebar|widget|\baside\b|secondary|complementary|menu|column", re.IGNORECASE)
_CAPTION = re.compile(
    r"caption|figure|gallery|lightbox|slideshow|photo|image-?credit|thumb|comment(?!s?-?feed)|media-?object",
    re.IGNORECASE,
)
_RIGHTS_META = re.compile(r"^(?:dc(?:terms)?\.)?(?:rights|licen[sc]e|rights\.licen[sc]e|copyright)$", re.IGNORECASE)


_ENTITY = re.compile(r"&(?:#\d{1,6}|#x[0-9a-f]{1,5}|[a-z]{2,8}\d?);", re.IGNORECASE)
_SIGNS = {"&copy;": "©", "&#169;": "©", "&uuml;": "ü", "&auml;": "ä", "&ouml;": "ö", "&eacute;": "é", "&amp;": "&"}
_INLINE = frozenset(
    [
        "a",
        "abbr",
        "acronym",
        "b",
        "bdi",
        "bdo",
        "big",
        "cite",
        "code",
        "em",
        "font",
        "i",
        "img",
        "kbd",
        "mark",
        "q",
        "s",
        "samp",
        "small",
        "span",
        "strong",
        "sub",
        "sup",
        "tt",
        "u",
    ]
)


def _blank(tag: re.Match[str]) -> str:
    """As many code points as the tag has, so that places stay: blanks, or a line end for a tag that ends a line."""
    if tag[3] is None or tag[3].lower() in _INLINE:
        return " " * len(tag[0])
    return "\n" + " " * (len(tag[0]) - 1)


def _page_marks(content: str) -> list[Finding]:
    """Marks of an HTML page: links to Creative Commons by their place, then sentences of the visible text."""
    visible = _ENTITY.sub(lambda entity: _SIGNS.get(entity[0], " ").ljust(len(entity[0])), _TAG.sub(_blank, content))
    marks = list(_link_marks(content, visible)) if "creativecommons" in content else []
    links_decide = bool(marks)
    if links_decide:
        best = max(mark.confidence for mark in marks)
        marks = [mark for mark in marks if mark.confidence >= best - 0.2]
        marks += [
            mark for mark in _text_marks(visible) if mark.restriction in ("rights_reserved", "tdm_reserved", "no_ai")
        ]
        return marks
    return _text_marks(visible)


_MAX_LINKS = 100  # and those near the end; more of them are a list


def _link_marks(content: str, visible: str) -> Iterator[Finding]:
    stack: list[tuple[str, str]] = []
    links = 0
    for tag in _TAG.finditer(content):
        name = tag[3]
        if name is None:
            continue
        name = name.lower()
        if tag[2]:
            for depth in range(len(stack) - 1, max(-1, len(stack) - 12), -1):
                if stack[depth][0] == name:
                    del stack[depth:]
                    break
            continue
        attributes = tag[4]
        if "creativecommons.org" in attributes.lower() and name in ("a", "link", "meta"):
            links += 1
        if (
            "creativecommons.org" in attributes.lower()
            and name in ("a", "link", "meta")
            and (links <= _MAX_LINKS or tag.start() > len(content) - _TAIL_WINDOW)
        ):
            values = {key.lower(): html.unescape(a or b or c) for key, a, b, c in _ATTRIBUTE.findall(attributes)}
            found = _CC_URL.search(values.get("content" if name == "meta" else "href", ""))
            if found and (expression := _cc_id_of_url(found)):
                confidence = _link_confidence(name, values, stack, visible, tag.start(), tag.end())
                if confidence:
                    yield _finding(expression, "cc-mark", tag.start(), tag.end(), confidence)
        if name not in _VOID and not attributes.endswith("/"):
            named = "".join(
                f" {value[1] or value[2] or value[3] or ''}"
                for value in (_ATTRIBUTE.findall(attributes) if attributes else ())
                if value[0].lower() in ("class", "id", "role")
            )
            stack.append((name, named))


def _link_confidence(
    name: str, values: dict[str, str], stack: Sequence[tuple[str, str]], visible: str, start: int, end: int
) -> float:
    """How surely a Creative Commons link speaks for its page, 0 for not at all."""
    relation = values.get("rel", "").lower().split()
    if name == "link":
        return 1.0 if "license" in relation or "copyright" in relation else 0.0
    if name == "meta":
        return 1.0 if _RIGHTS_META.match(values.get("name", values.get("property", ""))) else 0.0
    near = re.sub(r"\s+", " ", visible[max(0, start - 220) : start])[-130:]
    behind = re.sub(r"\s+", " ", visible[end : end + 300])[:130]
    names = " ".join(f"{tag} {named}" for tag, named in stack[-40:])
    if re.search(r"\bfigcaption|\bfigure\b|\bblockquote\b", names) or _CAPTION.search(names):
        return 0.0
    context = near + " " + behind
    if _IMAGES.search(near[-100:]) and not _WRITTEN.search(context):
        return 0.0
    if _IMAGES.search(behind[:90]) and not _WRITTEN.search(context):
        return 0.0
    if "license" in relation:
        return 0.9
    own = _OWN.search(context)
    if _OTHERS.search(near[-90:]) and not own:
        return 0.0
    if re.search(r"\bfooter\b", names) or _FOOT.search(names):
        return 0.85
    if re.search(
        r"(?:licen[sc]e|lizenz|licence|licencia|licenza|lisens|licentie|licencja)\s*:?\s*\(?\Z", near, re.IGNORECASE
    ):
        return 0.75
    if _SIDE.search(names) and not re.search(r"comment", names):
        return 0.75
    if own and not _TALKS.search(near[-80:]) and _LICENSES.search(context):
        return 0.7
    return 0.0


_IMAGES = re.compile(
    r"\b(?:images?|photos?|photograph\w*|pictures?|illustrations?|icons?|logos?|videos?|fonts?|maps?|bild\w*|fotos?|"
    r"fotograf\w*|grafik\w*|abbildung\w*|titelbild|imagen|imágenes|immagin[ei]|zdjęcie|flickr|wikimedia commons|"
    r"openstreetmap|"
    r"unsplash|pixabay|credit)\b",
    re.IGNORECASE,
)
_WRITTEN = re.compile(
    r"\b(?:texte?[sn]?|inhalte?n?|beitr[aä]ge?n?|artikel|contents?|contenus?|contenidos?|articles?|works?|"
    r"werke?s?|posts?|this (?:site|blog|page|"
    r"website))\b",
    re.IGNORECASE,
)


# ---------------------------------------------------------------------------------------------------------------------
# The stage
# ---------------------------------------------------------------------------------------------------------------------

_KEEP = {reason: Decision(Action.KEEP, reason) for reason in Reason}


class License(Stage):
    """Exclude documents whose licence does not fit the policy.

    Args:
        policy: `opt-out` excludes what restricts in words (kinds of restriction in `lists/licenses.toml`, `[opt_out]`)
            and keeps the rest, as the published corpus treats web text; `open-only` keeps nothing but permissive
            licences, the right policy for code and declared data sets.
        kind: what the documents are (see `detect`); `metadata["kind"]` overrides it.
        allow: further SPDX ids that count as permissive; an id without version allows all its versions and ports, so
            `CC-BY-SA` takes Wikipedia in.
        exclusion_writer: see `Stage`.

    For web documents `metadata["html"]` is looked at instead of the text when there is one: the place of a mark tells
    more than its words. A licence that the source declares in `metadata["license"]` is a mark too.
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
            "lists_sha256": _lists_sha256(),
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
        source_says = metadata.get("license") or metadata.get("detected_licenses")
        if source_says:
            finding = _settle([mark for mark in (finding, _declared_by_source(source_says)) if mark.detector])
        metadata["license"] = finding.spdx
        return self._judge(finding)

    def _judge(self, finding: Finding) -> Decision:
        if finding.detector is None:
            reason = Reason.NO_EVIDENCE
        elif finding.permissive or (finding.spdx and self._allowed(finding.spdx)):
            reason = Reason.PERMISSIVE
        elif finding.restriction is None:
            reason = Reason.UNRECOGNIZED
        else:
            reason = Reason.CONFLICT if finding.conflict else Reason.RESTRICTED
        if self.policy == "opt-out":
            excluded = reason in (Reason.RESTRICTED, Reason.CONFLICT) and finding.restriction in _opt_out()
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
            rule=finding.restriction,
        )
        return Decision(Action.EXCLUDE, reason, found, score=finding.confidence if finding.detector else None)

    def _allowed(self, expression: str) -> bool:
        if not self.allow:
            return False
        return _allowed_by(_licensing().parse(expression), self.allow)


def _allowed_by(node: Any, allow: tuple[str, ...]) -> bool:
    if hasattr(node, "license_symbol"):
        return _allowed_by(node.license_symbol, allow)
    if hasattr(node, "key"):
        named = any(
            node.key == id or (node.key.startswith(id + "-") and node.key[len(id) + 1].isdigit()) for id in allow
        )
        return named or _id_restrictiveness(node.key) == 0
    parts = [_allowed_by(part, allow) for part in node.args]
    return any(parts) if node.operator.strip() == "OR" else all(parts)


@functools.cache
def _opt_out() -> frozenset[str]:
    return frozenset(_lists()["opt_out"]["exclude"])


def _declared_by_source(value: object) -> Finding:
    """A `license` or `detected_licenses` column: a string, or a list whose members all apply. None is no evidence."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, Sequence) or not value or not all(isinstance(part, str) for part in value):
        return NO_FINDING
    names = [parse_declared(part[:500]) for part in value]
    if not all(names) or set(names) & set(_lists()["compilation"]["ids"]):
        return NO_FINDING
    return _finding(_render(" AND ".join(f"({name})" for name in names)), "declared", 0, 0, 0.9)
