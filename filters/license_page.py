"""TODO"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from filters.license_finding import Finding, granted
from filters.license_gate import TAIL_WINDOW
from filters.license_names import CC_URL, cc_id_of_url
from filters.license_sentences import LICENSES, OTHERS, OWN, TALKS
from filters.license_text import text_marks

HTML = re.compile(r"<(?:!doctype|html|head|body|div|p|a|meta|span|table|article)\b", re.IGNORECASE)
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


def page_marks(content: str) -> list[Finding]:
    """Marks of an HTML page: links to Creative Commons by their place, then sentences of the visible text."""
    visible = _ENTITY.sub(lambda entity: _SIGNS.get(entity[0], " ").ljust(len(entity[0])), _TAG.sub(_blank, content))
    marks = list(_link_marks(content, visible)) if "creativecommons" in content else []
    links_decide = bool(marks)
    if links_decide:
        best = max(mark.confidence for mark in marks)
        marks = [mark for mark in marks if mark.confidence >= best - 0.2]
        marks += [
            mark for mark in text_marks(visible) if mark.restriction in ("rights_reserved", "tdm_reserved", "no_ai")
        ]
        return marks
    return text_marks(visible)


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
            and (links <= _MAX_LINKS or tag.start() > len(content) - TAIL_WINDOW)
        ):
            values = {key.lower(): html.unescape(a or b or c) for key, a, b, c in _ATTRIBUTE.findall(attributes)}
            found = CC_URL.search(values.get("content" if name == "meta" else "href", ""))
            if found and (expression := cc_id_of_url(found)):
                confidence = _link_confidence(name, values, stack, visible, tag.start(), tag.end())
                if confidence:
                    yield granted(expression, "cc-mark", tag.start(), tag.end(), confidence)
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
    own = OWN.search(context)
    if OTHERS.search(near[-90:]) and not own:
        return 0.0
    if re.search(r"\bfooter\b", names) or _FOOT.search(names):
        return 0.85
    if re.search(
        r"(?:licen[sc]e|lizenz|licence|licencia|licenza|lisens|licentie|licencja)\s*:?\s*\(?\Z", near, re.IGNORECASE
    ):
        return 0.75
    if _SIDE.search(names) and not re.search(r"comment", names):
        return 0.75
    if own and not TALKS.search(near[-80:]) and LICENSES.search(context):
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
