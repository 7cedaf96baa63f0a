"""An HTML page's licence: where a link stands decides, then what its sentences say.

On 154 real pages that mention Creative Commons the share of links that spoke for the page was 0.96 for `rel=license` on
an anchor, 1.00 for `link` and `meta`, 0.94 in a footer, 0.88 in a sidebar, 0.68 without `rel`, 0.52 elsewhere in the
body and 0 in a caption. `rel=license` also marks licences of the pictures only, so the words around the link are read.
JSON-LD counts where it speaks of the page or its article; a licence of an image, a video or a data set within is that
thing's. The visible text, without captions and readers' comments, is read by the rule for extracted text
(`license_statements`), with the footer as its edge: in the languages of its word lists, and stricter wins.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from filters.license_doubt import denied
from filters.license_finding import Finding, granted, reserved, strictness
from filters.license_gate import RESERVED
from filters.license_html import CAPTION, FOOT, Link, Page, read_page
from filters.license_names import CC_URL, cc_id_of_url, licence_of_url, parse_declared
from filters.license_sentences import LICENSES, OTHERS, OWN, TALKS
from filters.license_text import text_marks

_SIDE = re.compile(r"sidebar|widget|\baside\b|secondary|complementary|menu|column", re.IGNORECASE)
_RIGHTS_META = re.compile(
    r"^(?:(?:dc(?:terms|t)?|cc|og|article|eprints|citation)[.:_])?(?:rights|licen[sc]e|rights\.licen[sc]e|copyright|license_url)$",
    re.IGNORECASE,
)
_LICENSE_RELATIONS = {
    "license",
    "cc:license",
    "dct:license",
    "dc:license",
    "dcterms:license",
    "dc:rights",
    "schema:license",
}


def page_marks(content: str) -> list[Finding]:
    """Marks of an HTML page: links and data by their place, and sentences of the visible text."""
    page = read_page(content)
    links = list(_link_marks(page)) + list(_data_marks(page))
    said = [_placed(mark, page, len(content)) for mark in text_marks(page.text, page.in_notice)]
    if not links:
        return said
    best = max(mark.confidence for mark in links)
    links = [mark for mark in links if mark.confidence >= best - 0.2]
    # What the text says of the same licence is the same mark; beyond that only what is stricter counts.
    worst = max(map(strictness, links))
    return links + [mark for mark in said if strictness(mark) > worst]


def _placed(mark: Finding, page: Page, length: int) -> Finding:
    if mark.start is None or mark.end is None:
        return mark
    start = page.origin(mark.start)
    return replace(mark, start=start, end=max(start, min(length, page.origin(max(mark.start, mark.end - 1)) + 1)))


def _link_marks(page: Page) -> Iterator[Finding]:
    named = {cc_id_of_url(found) for link in page.links for found in CC_URL.finditer(link.attributes.get("href", ""))}
    # A page with links to many licences explains them; its own is then declared or in its footer.
    least = 0.85 if len(named) >= 3 else 0.0
    for link in page.links:
        address = link.attributes.get("content" if link.name == "meta" else "href", "")
        found = CC_URL.search(address)
        # Any link may be to Creative Commons; one to another licence counts where it is said to be the page's.
        expression = cc_id_of_url(found) if found else licence_of_url(address) if _declares(link) else None
        if link.name == "meta" and expression is None and _declares(link):
            if RESERVED.search(address[:500]):
                yield reserved("rights_reserved", link.start, link.end, 0.8, "meta")
                continue
            expression = parse_declared(address[:500])
        if expression and (judged := _judge(link, page)) and judged[1] >= least:
            yield granted(expression, judged[0], link.start, link.end, judged[1])


def _declares(link: Link) -> bool:
    if link.name == "meta":
        return bool(_RIGHTS_META.match(link.attributes.get("name", link.attributes.get("property", ""))))
    relations = " ".join(link.attributes.get(key, "") for key in ("rel", "property", "itemprop")).lower().split()
    return not _LICENSE_RELATIONS.isdisjoint(relations) or (link.name == "link" and "copyright" in relations)


def _judge(link: Link, page: Page) -> tuple[str, float] | None:
    """Kind of mark and how surely it speaks for its page; None when it does not."""
    declares = _declares(link)
    if link.name in ("link", "meta"):
        return (link.name, 1.0) if declares else None
    # The line that the link stands in and the one above: what is higher up is a list or another box.
    near = "\n".join(page.text[max(0, link.text_start - 130) : link.text_start].split("\n")[-2:])
    behind = "\n".join(page.text[link.text_start : link.text_start + 130].split("\n")[:2])
    if re.search(r"\bfigcaption|\bfigure\b|\bblockquote\b", link.containers) or CAPTION.search(link.containers):
        return None
    context = near + " " + behind
    if (_IMAGES.search(near[-100:]) or _IMAGES.search(behind[:90])) and not _WRITTEN.search(context):
        return None
    if denied(near, len(near)):
        return None
    if declares:
        return "rel-license", 0.9
    own = OWN.search(context)
    if OTHERS.search(near[-90:]) and not own:
        return None
    if re.search(r"\bfooter\b", link.containers) or FOOT.search(link.containers):
        return "footer-link", 0.85
    if _LABEL.search(near):
        return "link", 0.75
    if _SIDE.search(link.containers) and "comment" not in link.containers.lower():
        return "link", 0.75
    if own and not TALKS.search(near[-80:]) and LICENSES.search(context):
        return "link", 0.7
    return None


_LABEL = re.compile(
    r"(?:licen[sc]e|lizenz|licence|licencia|licenza|lisens|licentie|licencja|licença|лиценз\w*|ліценз\w*|lisans\w*|"
    r"ライセンス|许可|授权|授權|라이선스)\s*[:：]?\s*\(?\Z",
    re.IGNORECASE,
)
_IMAGES = re.compile(
    r"\b(?:images?|photos?|photograph\w*|pictures?|illustrations?|icons?|logos?|videos?|fonts?|maps?|bild\w*|fotos?|"
    r"fotograf\w*|grafik\w*|abbildung\w*|titelbild|imagen|imágenes|immagin[ei]|zdjęcie|flickr|wikimedia commons|"
    r"openstreetmap|"
    r"unsplash|pixabay|credit)\b",
    re.IGNORECASE,
)
_WRITTEN = re.compile(
    r"\b(?:texte?[sn]?|inhalte?n?|beitr[aä]ge?n?|artikel|contents?|contenus?|contenidos?|articles?|works?|"
    r"werke?s?|posts?)\b",
    re.IGNORECASE,
)


# -- JSON-LD (schema.org)

_PAGE_TYPES = frozenset(
    [
        "article",
        "newsarticle",
        "blogposting",
        "scholarlyarticle",
        "techarticle",
        "report",
        "webpage",
        "itempage",
        "creativework",
        "book",
        "chapter",
        "course",
        "learningresource",
        "howto",
        "recipe",
        "blog",
        "website",
        "webcontent",
        "socialmediaposting",
        "analysisnewsarticle",
    ]
)


def _data_marks(page: Page) -> Iterator[Finding]:
    for text, start, end in page.data:
        if "icense" not in text:
            continue
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            continue
        for address in _licenses_of_the_page(parsed):
            found = CC_URL.search(address)
            if expression := cc_id_of_url(found) if found else licence_of_url(address):
                yield granted(expression, "json-ld", start, end, 0.95)


def _licenses_of_the_page(parsed: Any, depth: int = 0) -> Iterator[str]:
    """Values of `license` of those top-level things that are pages or articles."""
    things = parsed if isinstance(parsed, list) else [parsed]
    for thing in things[:50]:
        if not isinstance(thing, dict):
            continue
        graph = thing.get("@graph")
        if isinstance(graph, list) and depth < 3:
            yield from _licenses_of_the_page(graph[:50], depth + 1)
        if depth < 3:  # a page's article stands beside it in a graph, or within it
            yield from _licenses_of_the_page(thing.get("mainEntity"), depth + 1)
        kinds = thing.get("@type", "")
        names = kinds if isinstance(kinds, list) else [kinds]
        if not any(isinstance(name, str) and name.rsplit("/", 1)[-1].lower() in _PAGE_TYPES for name in names):
            continue
        values = thing.get("license")
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, dict):
                value = value.get("@id") or value.get("url")
            if isinstance(value, str):
                yield value[:500]
