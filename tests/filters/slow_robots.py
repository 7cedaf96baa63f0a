"""robots.txt read slowly and, one hopes, obviously rightly: line by line from the text of RFC 9309 and the behaviour of
Google's parser, without any of the shortcuts of `filters.robots_txt` and sharing no code with it."""

from __future__ import annotations

import re

KEYS = {
    "user-agent": ("user-agent", "useragent", "user agent"),
    "allow": ("allow",),
    "disallow": ("disallow", "dissallow", "dissalow", "disalow", "diasllow", "disallaw"),
}


def slow_verdict(body: bytes, agent: str, path: str) -> tuple[bool, int]:
    """Whether `agent` may fetch `path`, and the 1-based line that decides, 0 for none."""
    groups: list[tuple[list[str], list[tuple[bool, str, int]]]] = []
    closed = True
    for number, line in enumerate(lines_of(body), 1):
        kind, value = key_and_value(line)
        if kind == "user-agent":
            if closed:
                groups.append(([], []))
            closed = False
            groups[-1][0].append(value)
        elif kind and groups:
            closed = True
            groups[-1][1].append((kind == "allow", value, number))
    named = [rules for agents, rules in groups if any(names(value, agent) for value in agents)]
    star = [rules for agents, rules in groups if any(re.match(r"\*([ \t\v\f]|$)", value) for value in agents)]
    best = (-1, True, 0)
    for allow, value, number in [rule for rules in (named or star) for rule in rules]:
        patterns = [escaped(value)]
        if allow and re.fullmatch(r".*/index\.htm[^/]*", value, re.DOTALL):
            patterns.append(escaped(value)[: escaped(value).rindex("/") + 1] + "$")
        for pattern in patterns:
            if fits(pattern, path):
                best = max(best, (len(pattern), allow or not pattern, -number))
    return best[1], -best[2]


def lines_of(body: bytes) -> list[bytes]:
    if len(body) > 500 * 1024:
        body = body[: 500 * 1024]
        whole = max(body.rfind(b"\n"), body.rfind(b"\r")) + 1
        body = body[:whole] if whole else body
    body = re.sub(rb"\A\xef(\xbb\xbf?)?", b"", body)
    return [line[: 2083 * 8 - 1].split(b"\0")[0] for line in re.split(rb"\r\n|\r|\n", body)]


def key_and_value(line: bytes) -> tuple[str, str]:
    text = line.decode("latin-1").partition("#")[0].strip(" \t\v\f")
    if ":" in text:
        key, value = text.split(":", 1)
        key, value = key.strip(" \t\v\f"), value.strip(" \t\v\f")
    else:  # white space in place of a colon: exactly two words
        words = re.split(r"[ \t]+", text)
        if len(words) != 2:
            return "", ""
        key, value = words
    kinds = [kind for kind, spellings in KEYS.items() if key.lower().startswith(spellings)]
    return (kinds[0], value) if kinds else ("", "")


def names(value: str, agent: str) -> bool:
    """Digits count in a token only where the policy's own token has some."""
    wanted = re.match("[A-Za-z0-9_-]*", agent)[0].lower()  # type: ignore[index]
    letters = "[A-Za-z0-9_-]*" if re.search("[0-9]", wanted) else "[A-Za-z_-]*"
    return bool(wanted) and re.match(letters, value)[0].lower() == wanted  # type: ignore[index]


def escaped(value: str) -> str:
    value = re.sub("%[0-9a-fA-F]{2}", lambda escape: escape[0].upper(), value)
    return "".join(sign if sign.isascii() else f"%{ord(sign):02X}" for sign in value)


def fits(pattern: str, path: str) -> bool:
    """`*` and final `$` by the set of places where the pattern read so far may end."""
    places = {0}
    for at, sign in enumerate(pattern):
        if sign == "$" and at == len(pattern) - 1:
            return len(path) in places
        if sign == "*":
            places = set(range(min(places), len(path) + 1))
        else:
            places = {place + 1 for place in places if path[place : place + 1] == sign}
        if not places:
            return False
    return True
