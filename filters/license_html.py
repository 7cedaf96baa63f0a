"""An HTML page as the licence rules need it: its text in lines, and its links, each with the containers it stands in.

No tree is built. One expression walks over tags, a stack holds what is open, and text is copied once: block elements
end a line, inline ones do not, white space is folded as a browser would. Places in the text lead back to places in the
page. What is in scripts, comments, `noscript` and form fields is not seen; JSON-LD is handed out as it is. 20 MB per
CPU second, and linear on anything: what is left open runs to the end, and attribute values are bounded.
"""

from __future__ import annotations

import bisect
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_HTML = re.compile(r"<(?:!doctype|html|head|body|div|p|a|meta|span|table|article)\b", re.IGNORECASE)
_TOKEN = re.compile(
    r"<!--.*?(?:-->|\Z)|<span class=\"lineno\">[^<]{0,40}</span>|"
    r"<(script|style|noscript|svg|template|select|textarea)\b([^>]{0,4000})>(.*?)(?:</\1\s*>|\Z)|"
    r"<(/?)([a-z][a-z0-9]*)((?:\"[^\"]{0,8000}\"|'[^']{0,8000}'|[^<>\"'])*+)>",
    re.IGNORECASE | re.DOTALL,
)
_ATTRIBUTE = re.compile(r"([a-z:-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>]+))", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{1,6}|#x[0-9a-f]{1,5}|[a-z]{2,8}\d?);", re.IGNORECASE)
_BLANKS = re.compile(r"[\s\u00a0]+")
_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
)
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
_MAX_LINKS = 60  # and those near the end; more of them are a list
_TAIL = 8_000
_MAX_DATA = 200_000
# Words in names of classes by which a container is told; only those are kept of a name.
_NAMED = re.compile(
    r"foot|licen[sc]|copyright|legal|colophon|credits?\b|imprint|impressum|siteinfo|site-info|sidebar|widget|aside|"
    r"secondary|complementary|menu|column|caption|figure|gallery|lightbox|slideshow|photo|credit|thumb|comment|"
    r"media-?object|imageobject",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Link:
    """A link, or a `link` or `meta` element, that may name a licence.

    Attributes:
        name: `a`, `link` or `meta`.
        attributes: names in lower case.
        containers: names, classes, ids, roles and item types of the open elements, the outermost first.
        start, end: where the element stands in the page.
        text_start: where it stands in the page's text.
    """

    name: str
    attributes: dict[str, str]
    containers: str
    start: int
    end: int
    text_start: int


@dataclass(slots=True)
class Page:
    """A page's text with the way back into the page, and what else may name a licence.

    Attributes:
        text: what is to be read, in lines.
        links: see `Link`; those near the beginning and the end.
        data: JSON-LD scripts, with their places in the page.
        notices: ranges of the text that stand in a container for notices, such as a footer.
    """

    text: str = ""
    links: list[Link] = field(default_factory=list)
    data: list[tuple[str, int, int]] = field(default_factory=list)
    notices: list[tuple[int, int]] = field(default_factory=list)
    _pieces: list[int] = field(default_factory=list)
    _origins: list[int] = field(default_factory=list)

    def origin(self, place: int) -> int:
        """Place in the page of a place in the text."""
        number = max(0, bisect.bisect_right(self._pieces, place) - 1)
        return self._origins[number] + place - self._pieces[number] if self._pieces else 0

    def in_notice(self, place: int) -> bool:
        """Whether a place in the text is in a footer or another container for notices."""
        number = bisect.bisect_right(self.notices, (place, len(self.text) + 1)) - 1
        return number >= 0 and self.notices[number][0] <= place < self.notices[number][1]


def is_html(content: str) -> bool:
    """Whether the first few thousand characters hold a tag that pages have."""
    return content.find("<", 0, 4096) >= 0 and _HTML.search(content, 0, 4096) is not None


def read_page(content: str) -> Page:
    """Read an HTML page; anything at all is a page."""
    return _Reader(content).page


class _Reader:
    def __init__(self, content: str):
        self.page = Page()
        self._content = content
        self._parts: list[str] = []
        self._length = 0
        self._stack: list[tuple[str, str]] = []
        self._opened: list[tuple[int, int]] = []  # depth and place in the text of open containers for notices
        self._hidden = 0  # depth of the outermost caption or quotation that is open, 0 when none is
        self._seen = 0
        self._read()
        self._close(0)
        self.page.text = "".join(self._parts)
        self.page.notices.sort()

    def _read(self) -> None:
        at = 0
        for token in _TOKEN.finditer(self._content):
            if token.start() > at:
                self._write(self._content[at : token.start()], at)
            at = token.end()
            name = token[5]
            if name is None:
                if token[1] and token[1].lower() == "script" and "ld+json" in token[2] and len(self.page.data) < 20:
                    self.page.data.append((token[3][:_MAX_DATA], token.start(3), token.end(3)))
                continue
            name = name.lower()
            if name not in _INLINE and self._parts and self._parts[-1] != "\n":
                self._put("\n", token.start())
            if token[4]:
                self._close_element(name)
            else:
                self._open(name, token)
        self._write(self._content[at:], at)

    def _open(self, name: str, token: re.Match[str]) -> None:
        attributes = token[6]
        if name in ("a", "link", "meta"):
            self._link(name, attributes, token)
        if name in _VOID or attributes.endswith("/"):
            return
        named = ""
        # What the whole page or article is called (`has-post-thumbnail`, `footer-fixed`) says nothing of its parts.
        if attributes and name not in ("html", "body", "main", "article") and _NAMED.search(attributes):
            named = " ".join(
                a or b or c for key, a, b, c in _ATTRIBUTE.findall(attributes)
                if key.lower() in ("class", "id", "role", "itemtype")
            )  # fmt: skip
        self._stack.append((name, named))
        depth = len(self._stack)
        if name == "footer" or FOOT.search(named):
            self._opened.append((depth, self._length))
        # Inline elements of class `comment` are program listings.
        others = name in ("figure", "figcaption") or (named and name not in _INLINE and _OF_OTHERS.search(named))
        if others and not self._hidden:
            self._hidden = depth

    def _close_element(self, name: str) -> None:
        for depth in range(len(self._stack) - 1, max(-1, len(self._stack) - 12), -1):
            if self._stack[depth][0] == name:
                self._close(depth)
                return

    def _close(self, depth: int) -> None:
        del self._stack[depth:]
        while self._opened and self._opened[-1][0] > depth:
            start = self._opened.pop()[1]
            if not self._opened and self._length > start:
                self.page.notices.append((start, self._length))
        if self._hidden > depth:
            self._hidden = 0

    def _link(self, name: str, attributes: str, token: re.Match[str]) -> None:
        lower = attributes.lower()
        if not any(word in lower for word in ("licen", "creativecommons", "right", "publicdomain")):
            return
        self._seen += 1
        if self._seen > _MAX_LINKS and token.start() < len(self._content) - _TAIL:
            return
        values = {key.lower(): html.unescape(a or b or c) for key, a, b, c in _ATTRIBUTE.findall(attributes)}
        containers = " ".join(f"{tag} {named}" for tag, named in self._stack[-40:])
        self.page.links.append(Link(name, values, containers, token.start(), token.end(), self._length))

    def _write(self, text: str, at: int) -> None:
        if self._hidden:
            return
        if not text or text.isspace():
            if self._parts and not self._parts[-1][-1].isspace():
                self._put(" ", at)
        elif text.isprintable() and "  " not in text and "&" not in text:  # its only blanks are single spaces
            self._put(text, at)
        else:
            for piece, place in _folded(text):
                self._put(piece, at + place)

    def _put(self, piece: str, origin: int) -> None:
        self.page._pieces.append(self._length)
        self.page._origins.append(origin)
        self._parts.append(piece)
        self._length += len(piece)


FOOT = re.compile(
    r"foot|licen[sc]|copyright|legal|colophon|credits?\b|imprint|impressum|siteinfo|site-info", re.IGNORECASE
)
CAPTION = re.compile(
    r"caption|figure|gallery|lightbox|slideshow|photo|image-?credit|thumb|comment(?!s?-?feed)|media-?object|imageobject",
    re.IGNORECASE,
)


_OF_OTHERS = re.compile(
    r"(?<![\w-])(?:wp-caption|caption|figure|gallery-(?:item|caption)|(?:image|photo)-?credits?|"
    r"comments?(?:-?(?:list|body|content|text|area|wrap))?|commentlist)(?![\w-])",
    re.IGNORECASE,
)


def _folded(text: str) -> Iterator[tuple[str, int]]:
    """Text between tags with entities read and blanks folded, in pieces, each with its place."""
    at = 0
    if "&" in text:
        for entity in _ENTITY.finditer(text):
            if entity.start() > at:
                yield from _without_blanks(text[at : entity.start()], at)
            yield html.unescape(entity[0])[:1] or " ", entity.start()
            at = entity.end()
    if at < len(text):
        yield from _without_blanks(text[at:], at)


def _without_blanks(text: str, base: int) -> Iterator[tuple[str, int]]:
    at = 0
    for blanks in _BLANKS.finditer(text):
        if len(blanks[0]) > 1:
            yield text[at : blanks.start()].replace("\n", " ") + " ", base + at
            at = blanks.end()
    if at < len(text):
        yield _BLANKS.sub(" ", text[at:]), base + at
