"""Licences of HTML pages: footers in forty languages, data in scripts, other people's marks, places in the page."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.license import detect, inspect
from filters.license_html import read_page
from filters.license_policy import permissive

STATEMENTS = [
    line.split("\t")
    for line in (Path(__file__).parent / "license_statements.tsv").read_text(encoding="utf-8").splitlines()
]
BODY = "".join(
    f"<p>{line}</p>\n"
    for line in [
        "The heron came back to the weir on a Tuesday.",
        "Nobody had painted the boat since the flood, and the rope was older still.",
        "We counted eleven lamps along the towpath before the rain set in.",
    ]
    * 5
)
MENU = "<aside class='sidebar'><ul>" + "<li><a href='/x'>Link</a></li>" * 20 + "</ul></aside>"
BY, NC = "https://creativecommons.org/licenses/by/4.0/", "https://creativecommons.org/licenses/by-nc/3.0/de/"


def page(place: str, statement: str) -> str:
    """A page with the statement where the place says."""
    words = html.escape(statement)
    return {
        "foot": f"<main>{BODY}</main>{MENU}<footer><div><p>{words}</p></div></footer><script>x()</script>",
        "head": f"<article><p class='meta'>{words}</p>{BODY}</article>{MENU}",
        "mid": f"<article>{BODY}<p>{words}</p>{BODY}</article>{MENU}",
    }[place]


def test_statements_on_pages_are_told_from_talk_in_forty_languages() -> None:
    own = [row for row in STATEMENTS if row[1] != "-"]
    talk = [row for row in STATEMENTS if row[1] == "-"]
    found = {row[2]: inspect("html", page(row[0], row[2])) for row in STATEMENTS}
    wrong = [row for row in own if found[row[2]].spdx != row[1]]
    assert len(wrong) <= 0.03 * len(own), wrong
    assert not [row for row in wrong if found[row[2]].permissive and not permissive(row[1])]
    assert len([row for row in talk if found[row[2]].detector]) <= 0.02 * len(talk)


def linked(data: object) -> str:
    return f"<head><script type='application/ld+json'>{json.dumps(data)}</script></head><body>{BODY}</body>"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"@type": "NewsArticle", "license": BY}, "CC-BY-4.0"),
        ({"@type": ["WebPage", "FAQPage"], "license": {"@type": "CreativeWork", "url": NC}}, "CC-BY-NC-3.0-DE"),
        ({"@context": "x", "@graph": [{"@type": "WebSite"}, {"@type": "Article", "license": NC}]}, "CC-BY-NC-3.0-DE"),
        ([{"@type": "BlogPosting", "license": [BY, NC]}], "CC-BY-NC-3.0-DE"),
        ({"@type": "Article", "license": "https://www.gnu.org/licenses/fdl-1.3.html"}, "GFDL-1.3-only"),
        ({"@type": "ImageObject", "license": BY}, None),
        ({"@type": "Article", "image": {"@type": "ImageObject", "license": BY}}, None),
        ({"@type": "Dataset", "license": BY}, None),
        ({"@type": "Article", "license": "https://example.org/terms"}, None),
        ({"@type": "Article", "license": 4}, None),
        ([[["license"]]], None),
        ("license", None),
    ],
)
def test_structured_data_speaks_where_it_speaks_of_the_page(data: object, expected: str | None) -> None:
    assert detect("html", linked(data), None)[0] == expected
    assert inspect("html", linked(data)).detector == ("json-ld" if expected else None)


@pytest.mark.parametrize(
    ("head", "expected", "detector"),
    [
        (f"<link rel='license' href='{BY}'>", "CC-BY-4.0", "link"),
        (f"<meta name='DC.rights' content='{NC}'>", "CC-BY-NC-3.0-DE", "meta"),
        (f"<meta property='og:image' content='{BY}'>", None, None),
        ("<link rel='license' href='https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/'>",
         "OGL-UK-3.0", "link"),
        ("<link rel='license' href='/terms'>", None, None),
        (f"<a itemprop='license' href='{BY}'>x</a>", "CC-BY-4.0", "rel-license"),
        (f"<p>Images in this blog are under <a rel='license' href='{BY}'>this licence</a>.</p>", None, None),
        (f"<figure><img src='x'><figcaption>Weir, <a href='{BY}'>CC BY</a></figcaption></figure>", None, None),
        (f"<ol class='commentlist'><li>My blog is under <a href='{BY}'>CC BY 4.0</a></li></ol>", None, None),
        (f"<footer>Text: <a href='{BY}'>CC BY 4.0</a></footer>", "CC-BY-4.0", "footer-link"),
    ],
)  # fmt: skip
def test_links_and_elements(head: str, expected: str | None, detector: str | None) -> None:
    finding = inspect("html", f"<html><body>{BODY}{head}</body></html>")
    assert (finding.spdx, finding.detector) == (expected, detector)


def test_a_stricter_sentence_beats_a_link_and_the_disagreement_is_said() -> None:
    finding = inspect(
        "html", f"<body>{BODY}<footer><a href='{BY}'>CC</a><p>All texts are licensed CC BY-NC-ND 4.0.</p></footer>"
    )
    assert (finding.spdx, finding.permissive, finding.conflict) == ("CC-BY-NC-ND-4.0", False, True)


def test_sites_about_licences_show_texts_that_are_not_their_own() -> None:
    text = (
        "Permission is hereby granted, free of charge, to any person obtaining a copy of this software, to deal in the "
    )
    text += (
        "Software without restriction. The above copyright notice and this permission notice shall be included in it."
    )
    shown = f"<main><h1>The MIT License</h1><p>{text}</p></main>"
    assert detect("html", shown, "https://weir.example/license")[0] == "MIT"
    assert detect("html", shown, "https://opensource.org/license/mit") == (None, None)
    assert detect("html", shown, "https://www.opensource.org/license/mit") == (None, None)
    assert detect("html", shown, "https://opensource.org.weir.example/")[0] == "MIT"


def test_places_lead_back_into_the_page() -> None:
    content = (
        "<p>Gr&uuml;&szlig;e   &amp; mehr</p>\n<footer>  <b>Alle Texte</b>  unter der Lizenz CC BY-NC 4.0.</footer>"
    )
    finding = inspect("html", content)
    assert finding.start is not None
    assert content[finding.start : finding.end].startswith("CC BY-NC 4.0")


PIECES = ["<p>", "</p>", "<a href=x>", "</a>", "<footer>", "</footer>", "<figure>", "</div>", "&amp;", "&#x41;", "\xa0"]
PIECES += ["  ", "\n", "<script>", "</script>", "<!--", "-->", "<br/>", "<div class='caption'>"]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(PIECES) | st.text(max_size=6),
        max_size=25,
    ).map("".join)
)
def test_every_letter_of_the_text_is_where_the_page_has_it(content: str) -> None:
    read = read_page(content)
    for place, letter in enumerate(read.text):
        origin = read.origin(place)
        assert 0 <= origin <= len(content)
        if not letter.isspace() and content[origin : origin + 1] != "&":
            assert content[origin] == letter
    assert all(0 <= start < end <= len(read.text) for start, end in read.notices)
