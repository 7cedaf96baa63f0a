"""Which rule of a group decides for a path: the longest that fits, and Allow before Disallow of the same length.

A rule that fits is one number, so that the greatest decides (RFC 9309, 2.2.2, and Google's parser):

    length of the pattern in octets | 1 if it allows | how early its line is
    33 bits and up                    bit 32           bits 0-31

Most patterns are plain prefixes: one `startswith(tuple)` says whether any fits, and the longest is found by looking up
the path's beginnings. A pattern with `*` is a few `str.find` from left to right without backtracking: the leftmost
place for each part is as good as any. Files with hundreds of such patterns exist, and hostile ones have 28,000; there
most are ruled out together by the pieces of four octets that their longest literal needs and the path lacks.

Measured on one core: 3 µs for a path and the rules of a usual site, 0.5 ms for 28,000 wildcards and a path of 2,000
octets, 10-20 ms for 100 wildcards and a path of a megabyte (110 one by one). The worst that we could build, 28,000
permutations of parts that are all in the path, in an order that fails at the last, takes 7 ms.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

ALLOW_BIT = 1 << 32
LENGTH_SHIFT = 33
NO_RECORD = ALLOW_BIT - 1
NOTHING_FITS = ALLOW_BIT | 0  # allowed, and by no line

_MANY = 256  # wildcards from which asking them one by one is dearer than the index's fixed 40 µs
_FEW = 64  # beginnings and pieces that take less time than it takes to prepare a path
_MUCH = 500_000  # the same for wildcards times length of the path: `str.find` reads some 1-2 octets per nanosecond


def allows(rank: int) -> bool:
    """The verdict of a rank."""
    return bool(rank & ALLOW_BIT)


class Rules:
    """The compiled rules of one agent.

    Args:
        patterns, ranks: each rule's pattern as written, and its rank without the length.
        index_is_folder: whether an Allow of an index page allows its folder, as Google has it.

    Attributes:
        can_bar: whether any path could be disallowed.
        constant: the rank that every path gets, None when it depends on the path.
    """

    __slots__ = (
        "_any_prefix",
        "_default",
        "_exact",
        "_lengths",
        "_prefixes",
        "_wildcards",
        "can_bar",
        "constant",
    )

    def __init__(self, patterns: Sequence[str], ranks: Sequence[int], index_is_folder: bool = True):
        # A file may have 28,000 rules. What few of them need is asked of all at once, and lists are of texts and
        # numbers only: a tuple for each would set off the garbage collector, which took a third of the time.
        everything = "\n".join(patterns)
        if "%" in everything or not everything.isascii():
            patterns = [encoded_pattern(pattern) for pattern in patterns]
        ranks = [len(pattern) << LENGTH_SHIFT | rank for pattern, rank in zip(patterns, ranks, strict=True)]
        allowed = [pattern for pattern, rank in zip(patterns, ranks, strict=True) if rank & ALLOW_BIT]
        allowing = [rank for rank in ranks if rank & ALLOW_BIT]
        self.can_bar = len(allowed) < len(patterns) and any(
            pattern and not rank & ALLOW_BIT for pattern, rank in zip(patterns, ranks, strict=True)
        )
        # Of equal patterns only the winner matters: an Allow, or else the earlier.
        best = dict(zip(reversed(patterns), reversed(ranks), strict=True))
        best.update(zip(reversed(allowed), reversed(allowing), strict=True))
        if index_is_folder and "/index.htm" in everything:
            for pattern, rank in zip(allowed, allowing, strict=True):  # Google: an index page is its folder
                slash = pattern.rfind("/")
                if pattern.startswith("/index.htm", slash):
                    folder = pattern[: slash + 1] + "$"
                    rank = (rank & (2 * ALLOW_BIT - 1)) | len(folder) << LENGTH_SHIFT
                    best[folder] = max(best.get(folder, 0), rank)
        # An empty value fits everything with length 0 and bars nothing.
        self._default = best.pop("", NOTHING_FITS) | ALLOW_BIT
        self._prefixes = best
        self._exact: dict[str, int] = {}
        self._wildcards: _Wildcards | None = None
        if "*" in everything or "$" in everything or "/index.htm" in everything:
            plain = {pattern: rank for pattern, rank in best.items() if "*" not in pattern}
            self._prefixes = {pattern: rank for pattern, rank in plain.items() if pattern[-1] != "$"}
            self._exact = {pattern[:-1]: rank for pattern, rank in plain.items() if pattern[-1] == "$"}
            wild = sorted(((rank, pattern) for pattern, rank in best.items() if "*" in pattern), reverse=True)
            if wild:
                self._wildcards = _Wildcards([pattern for _, pattern in wild], [rank for rank, _ in wild])
        self._lengths = tuple(sorted(set(map(len, self._prefixes)), reverse=True))
        # Looking up a beginning costs as much as comparing ten.
        few = len(self._prefixes) < 10 * len(self._lengths)
        self._any_prefix = tuple(self._prefixes) if few else None
        self.constant: int | None = None
        if not self._exact and not self._wildcards and self._prefixes.keys() <= {"/"}:
            self.constant = self._prefixes.get("/", self._default)

    def match(self, path: str) -> int:
        """The rank of the rule that decides for `path`, which begins with a slash."""
        if self.constant is not None:
            return self.constant
        winner = self._default
        prefixes = self._prefixes
        if prefixes and (self._any_prefix is None or path.startswith(self._any_prefix)):
            for length in self._lengths:
                found = prefixes.get(path[:length])
                if found is not None:
                    winner = found
                    break
        if self._exact:
            winner = max(winner, self._exact.get(path, 0))
        return self._wildcards.match(path, winner) if self._wildcards else winner


class Screen:
    """Whether any Disallow among lines may fit a path, told without compiling them: most paths fit none, and most hosts
    have few documents. It errs on one side: what it rules out, no Disallow fits.

    Reading a line takes 0.3 µs and compiling its rule 2 µs; a path is asked in 0.1 to 0.5 µs.

    Attributes:
        can_bar: whether there is any Disallow with a value.
    """

    __slots__ = ("_always", "_asked", "_needles", "_prefixes", "can_bar")

    def __init__(self, text: str):
        """`text` holds lines of a file, as latin-1, with \\n before each."""
        if "%" in text or not text.isascii():
            text = encoded_pattern(text)
        values = set(_DISALLOW_VALUE.findall(text))
        values.discard("")
        self.can_bar = bool(values)
        self._asked = 0
        self._needles: tuple[str, ...] = ()
        plain = values
        if "*" in text:
            wild = [value for value in values if "*" in value]
            plain = values.difference(wild)
            tails = {value.rpartition("*")[2].removesuffix("$") for value in wild}
            if "" in tails:  # `/a*` is a prefix, and so is what is left of `/a/*b*`
                tails = set()
                for value in wild:
                    tail = value.rpartition("*")[2].removesuffix("$")
                    if tail:
                        tails.add(tail)
                    else:
                        plain.add(value.partition("*")[0])
            self._needles = tuple(tails)
        if "$" in text:
            plain = {value.removesuffix("$") for value in plain}
        self._always = len(self._needles) > _MANY or "" in plain
        if not self._always:  # `Disallow /x`, without a colon, is a rule too and gives the rest of its key
            self._always = any(value[0] in "iI" for value in values)
        self._prefixes = () if self._always else tuple(plain)

    @property
    def pieces(self) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        """Beginnings and pieces: a path with none of them is barred by nothing. None where they are many, or tell
        nothing."""
        few = not self._always and len(self._prefixes) + len(self._needles) <= _FEW
        return (self._prefixes, self._needles) if few else None

    def may_bar(self, path: str) -> bool:
        """False when no Disallow fits `path`, True when one may."""
        if self._always:
            return True
        if path.startswith(self._prefixes):
            return True
        needles = self._needles
        if len(self._prefixes) + len(needles) > _MANY:
            # Asking again and again costs more than having compiled the rules, from some 200 paths on.
            self._asked += 1
            self._always = self._asked > 200
        if needles:
            if len(needles) * len(path) > _MUCH:
                return True
            for needle in needles:
                if needle in path:
                    return True
        return False


# The beginning of a Disallow's value up to a blank, and of other lines with a d in front: too many, never too few.
_DISALLOW_VALUE = re.compile(r"\n[dD](?:[^:\n#]*:[ \t\v\f]*)?([^#\n \t\v\f]*)")


class _Wildcards:
    """Patterns with `*`, best first, each taken apart when it is first looked at."""

    __slots__ = ("_needles", "_parted", "_patterns", "_pieces", "_ranks")

    def __init__(self, patterns: list[str], ranks: list[int]):
        self._patterns, self._ranks = patterns, ranks
        self._parted: list[_Parts | None] = [None] * len(ranks)
        self._needles = [_needle(pattern) for pattern in patterns]
        self._pieces: _Pieces | None = None

    def match(self, path: str, winner: int) -> int:
        """The rank of the first that fits, or `winner` where that is greater."""
        if self._ranks[0] < winner:
            return winner
        if len(self._ranks) > _MANY or len(self._ranks) * len(path) > _MUCH:
            if self._pieces is None:
                self._pieces = _Pieces(self._needles)
            possible = self._pieces.possible(path)
        else:
            possible = [place for place, needle in enumerate(self._needles) if needle in path]
        for place in possible:
            if self._ranks[place] < winner:
                break
            parts = self._parted[place]
            if parts is None:
                parts = self._parted[place] = _parts(self._patterns[place])
            if path.startswith(parts[0]) and _fits_behind(path, parts):
                return self._ranks[place]
        return winner


def _needle(pattern: str) -> str:
    """The longest literal part of a pattern, of equal ones the last: heads are often no more than a slash."""
    head, _, tail = pattern.removesuffix("$").partition("*")
    return max([*tail.split("*")[::-1], head], key=len) if "*" in tail else head if len(head) > len(tail) else tail


# Head, middle parts, tail, whether anchored at the end.
_Parts = tuple[str, list[str], str, bool]


def _parts(pattern: str) -> _Parts:
    anchored = pattern[-1] == "$"
    head, *middle, tail = (pattern[:-1] if anchored else pattern).split("*")
    return head, [part for part in middle if part], tail, anchored


def _fits_behind(path: str, parts: _Parts) -> bool:
    """Whether the rest of a pattern fits behind its head."""
    head, middle, tail, anchored = parts
    position = len(head)
    if tail and len(middle) > 1 and path.rfind(tail) < position + len(middle):
        return False  # whatever the parts before it do
    for part in middle:
        position = path.find(part, position)
        if position < 0:
            return False
        position += len(part)
    if anchored:
        return len(path) - len(tail) >= position and path.endswith(tail)
    return path.find(tail, position) >= 0


def pattern_fits(pattern: str, path: str) -> bool:
    """Whether a path begins as `pattern` says, with `*` for anything and a final `$` for the end."""
    if "*" in pattern:
        parts = _parts(pattern)
        return path.startswith(parts[0]) and _fits_behind(path, parts)
    return path == pattern[:-1] if pattern.endswith("$") else path.startswith(pattern)


def encoded_pattern(value: str) -> str:
    """A rule's value as Google compares it: octets above 127 percent-encoded, escapes in upper case."""
    if "%" in value:
        value = _PERCENT.sub(lambda escape: escape[0].upper(), value)
    return _HIGH_OCTET.sub(lambda octet: f"%{ord(octet[0]):02X}", value)


_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_HIGH_OCTET = re.compile(r"[\x80-\xff]")


class _Pieces:
    """Which of many literals may be in a text: those of which every piece of four octets is.

    Pieces of the text are marked in a table by their hash; then all pieces of all literals are looked up at once. A
    literal that passes may still not be there, and one that is there always passes.
    """

    SIZE = 4
    _BITS = 20
    _STRIDE = 1 << 14

    def __init__(self, literals: Sequence[str]):
        self._count = len(literals)
        self._by_size: list[tuple[int, np.ndarray, np.ndarray]] = []  # size, hashes of pieces, whose they are
        for size in range(1, self.SIZE + 1):
            owners = [
                place
                for place, literal in enumerate(literals)
                if len(literal) == size or (len(literal) > size == self.SIZE)
            ]
            if not owners:
                continue
            joined = _octets("".join(literals[place] for place in owners))
            lengths = np.array([len(literals[place]) for place in owners])
            within = np.arange(len(joined)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            starts = within <= np.repeat(lengths, lengths) - size  # a piece does not reach into the next literal
            hashes = self._hashes(joined, size)
            starts = starts[: len(hashes)]
            self._by_size.append((size, hashes[starts], np.repeat(owners, lengths)[: len(hashes)][starts]))

    def possible(self, text: str) -> list[int]:
        """Places of the literals that may be in `text`, in order."""
        octets = _octets(text)
        table = np.zeros(1 << self._BITS, bool)
        alive = np.ones(self._count, bool)
        for start in range(0, len(octets), self._STRIDE):  # in strides that stay in the processor's cache
            stride = octets[start : start + self._STRIDE + self.SIZE - 1]
            for size, _, _ in self._by_size:
                table[self._hashes(stride, size)] = True
        for _, hashes, owners in self._by_size:
            alive[owners[~table[hashes]]] = False
        places: list[int] = np.flatnonzero(alive).tolist()
        return places

    @classmethod
    def _hashes(cls, octets: np.ndarray, size: int) -> np.ndarray:
        """One hash for each place where a piece of that size begins."""
        count = max(len(octets) - size + 1, 0)
        codes = octets[:count].astype(np.uint32)
        for place in range(1, size):
            codes |= octets[place : place + count].astype(np.uint32) << np.uint32(8 * place)
        codes *= np.uint32(2654435761)  # Knuth's multiplicative hash
        codes >>= np.uint32(32 - cls._BITS)
        return codes


def _octets(text: str) -> np.ndarray:
    """As ASCII, which patterns are: another character becomes a `?`, and can only let a literal pass."""
    return np.frombuffer(text.encode("ascii", "replace"), np.uint8)
