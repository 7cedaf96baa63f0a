"""The pieces of the report's page: where text becomes markup, and the few shapes that every section is made of."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from manifests.printable import printable


class Markup(str):
    """HTML that this module wrote; any other string is text and is escaped where it meets the page."""

    __slots__ = ()


def cell(value: Any) -> Markup:
    """The one place where text becomes markup: escaped, with control and bidirectional characters made visible."""
    return value if isinstance(value, Markup) else Markup(html.escape(printable(str(value)), quote=True))


def section(anchor: str, title: str, lead: str, *content: Markup) -> Markup:
    intro = f"<p>{cell(lead)}</p>" if lead else ""
    return Markup(
        f'<section id="{anchor}" aria-labelledby="h-{anchor}"><h2 id="h-{anchor}">{cell(title)}</h2>{intro}'
        f"{''.join(content)}</section>"
    )


def grid(
    heads: Sequence[str],
    rows: Sequence[Sequence[Any]],
    right: set[int] | frozenset[int] = frozenset(),
    wide: bool = False,
    caption: str = "",
    identifier: str = "",
) -> Markup:
    """A table; columns in `right` are numbers; a `wide` one becomes a list of cards on a phone."""
    classes = ["r" if place in right else "" if head else "m" for place, head in enumerate(heads)]
    opened = [f' class="{name}"' if name else "" for name in classes]
    head = "".join(f'<th scope="col"{opened[place]}>{cell(text)}</th>' for place, text in enumerate(heads))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td{opened[place]} data-label="{cell(heads[place])}"><span>{cell(value)}</span></td>'
            if wide
            else f"<td{opened[place]}>{cell(value)}</td>"
            for place, value in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    name = f' id="{identifier}"' if identifier else ""
    return Markup(
        f'<div class="scroll"><table{name}{" class=wide" if wide else ""}>'
        f"{f'<caption>{cell(caption)}</caption>' if caption else ''}"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def details(summary: str, content: Markup) -> Markup:
    return Markup(f"<details><summary>{cell(summary)}</summary>{content}</details>")


def titled(title: str, content: Markup) -> Markup:
    return Markup(f"<h4>{cell(title)}</h4>{content}")


def note(text: str) -> Markup:
    return Markup(f'<p class="note">{cell(text)}</p>')


def mono(text: str) -> Markup:
    return Markup(f"<code>{cell(text)}</code>")


def wrap(tag: str, items: Sequence[str], name: str) -> str:
    return f'<{tag} class="{name}">{"".join(items)}</{tag}>' if items else ""


def stack(parts: Sequence[tuple[str, int]], whole: int) -> str:
    return "".join(
        f'<i class="{kind}" style="width:{100 * number / whole:.3f}%"></i>'
        for kind, number in parts
        if number and whole
    )


def meter(number: int, whole: int, kind: str = "") -> Markup:
    share = 100 * number / whole if whole else 0
    extra = f" {kind}" if kind else ""
    return Markup(
        f'<span class="meter{extra}" role="img" aria-label="{share:.1f}%"><i style="width:{share:.2f}%"></i></span>'
    )


def histogram(bins: Mapping[int, int], label: str, kind: str = "x") -> Markup:
    """Twenty bars over scores 0 to 1, as inline SVG with a table behind it for those who do not see it."""
    most = max(bins.values())
    width, step, base, tall = 440, 22, 150, 125
    labelled = {place for place, number in bins.items() if most < 1000 or number == most}
    bars = "".join(
        f'<rect class="{kind}" x="{place * step + 1.5}" y="{base - tall * number / most:.1f}" width="{step - 3}" '
        f'height="{tall * number / most:.1f}" rx="2"/>'
        for place, number in sorted(bins.items())
    )
    bars += "".join(
        f'<text x="{_label_at(place) * step}" y="{base - 6 - tall * bins[place] / most:.1f}" '
        f'text-anchor="{_anchor(place)}">'
        f"{figure(bins[place])}</text>"
        for place in sorted(labelled)
    )
    ticks = "".join(
        f'<text x="{tick * width:g}" y="{base + 18}" text-anchor="{anchor}">{tick:g}</text>'
        for tick, anchor in ((0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1, "end"))
    )
    rows = [[f"{place / 20:.2f} to {(place + 1) / 20:.2f}", figure(number)] for place, number in sorted(bins.items())]
    return Markup(
        f'<svg viewBox="0 0 {width} {base + 26}" role="img" aria-label="{cell(label)}">'
        f'<line x1="0" y1="{base}" x2="{width}" y2="{base}"/>{bars}{ticks}</svg>'
        f"{details('As a table', grid(['Score', 'Documents'], rows, right={1}))}"
    )


def _label_at(place: int) -> float:
    """Where the number over a bar stands, in bars; long ones must not run out of the picture."""
    return 0 if place == 0 else 20 if place == 19 else place + 0.5


def _anchor(place: int) -> str:
    return "start" if place == 0 else "end" if place == 19 else "middle"


def figure(value: int) -> str:
    return f"{value:,}"


def plural(value: int, noun: str) -> str:
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def percent(part: float, whole: float) -> str:
    """One decimal, and never a rounded 0 % or 100 % for what is more or less."""
    if not whole:
        return "0%"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "<0.1%"
    if 99.9 < share < 100:
        return ">99.9%"
    return f"{share:.1f}%"


def amount(size: int) -> str:
    for unit, power in (("TB", 12), ("GB", 9), ("MB", 6), ("kB", 3)):
        if size >= 10**power:
            return f"{size / 10**power:,.1f} {unit}"
    return f"{size:,} bytes"


def grouped(root: str) -> str:
    return " ".join(root[start : start + 8] for start in range(0, len(root), 8))
