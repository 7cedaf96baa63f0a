"""A free licence that is named and not granted: denied, past, narrowed by the words beside it, or another's."""
# ruff: noqa: E501 (a case is easier to read in a line)

from __future__ import annotations

import re
from pathlib import Path

import pytest

from filters.license import detect, inspect
from filters.license_doubt import denied, narrowed
from filters.license_html import read_page
from filters.license_policy import RESTRICTIONS, opt_out_restrictions

_PAGE = "Herons of the fen\n\nWhere they nest and what they eat, by season and by weir.\n\n"


@pytest.mark.parametrize(
    ("kind", "content", "restriction"),
    [
        ("source", "# Licensed under the MIT license for non-commercial use only.\n", "noncommercial"),
        ("source", "# License: MIT (non-commercial use only)\n", "noncommercial"),
        ("source", "# Licensed under the MIT License. Commercial use requires a separate license.\n", "noncommercial"),
        ("source", "# Licensed under the Apache License, Version 2.0 with Commons Clause\n", "noncommercial"),
        ("source", "# This file is not licensed under the MIT License.\n", None),
        ("source", "# Previously licensed under the MIT License, now proprietary.\n", None),
        ("source", "# Unlike weir.py, released under the MIT license, this file is proprietary and confidential.\n", "proprietary"),
        ("markdown", "# W\n\n## License\n\nMIT License (non-commercial use only)\n", "noncommercial"),
        ("markdown", "# W\n\n## License\n\nMIT for the code, CC BY-NC 4.0 for the data.\n", "noncommercial"),
        ("markdown", "# W\n\n## License\n\nThe code is released under the MIT license. The weights are for research use only.\n",
         "noncommercial"),
        ("markdown", "# W\n\n## License\n\nNot MIT. All rights reserved.\n", "rights_reserved"),
        ("markdown", "# W\n\nFinds packages that are licensed under the MIT License.\n", None),
        ("markdown", "# W\n\nYour contributions are licensed under the MIT License.\n", None),
        ("declared", "MIT License (non-commercial)", None),
        ("declared", "Apache-2.0 (research use only)", None),
        ("declared", "CC BY 4.0 for personal use", None),
        ("declared", "Creative Commons Attribution-Heronly 4.0", None),
        ("web", _PAGE + "This work is licensed under CC BY 4.0. Commercial use is not permitted.", "noncommercial"),
        ("web", _PAGE + "This text is under a Creative Commons Attribution licence, but commercial use is prohibited.",
         "noncommercial"),
        ("web", _PAGE + "This page is no longer licensed under CC BY 4.0.", None),
        ("web", _PAGE + "Website template by Fen Works, CC BY 3.0. Content © 2020 Ada Fen.", None),
        ("web", _PAGE + "Theme made with care by Fen Works. Licensed under CC BY 3.0", None),
        ("html", "<p>x</p><p>This page is not under <a rel=license href='https://creativecommons.org/licenses/by/4.0/'>CC BY</a>",
         None),
        ("html", "<html><head><meta name='dcterms.license' content='CC BY-NC 4.0'></head><body>x", "noncommercial"),
        ("html", "<html><head><meta name='DC.rights' content='© Fen Works. All rights reserved'></head><body>x",
         "rights_reserved"),
        ("html", '<html><head><script type="application/ld+json">{"@type": "WebPage", "mainEntity": {"@type": "Article", '
                 '"license": "https://creativecommons.org/licenses/by-nc/4.0/"}}</script></head><body>x', "noncommercial"),
    ],
)  # fmt: skip
def test_a_free_licence_that_is_denied_or_narrowed_is_not_permissive(
    kind: str, content: str, restriction: str | None
) -> None:
    found = inspect(kind, content)
    assert not found.permissive
    assert found.restriction == restriction


@pytest.mark.parametrize(
    ("kind", "content", "spdx"),
    [
        ("source", "# Weir is not a toy. It is licensed under the MIT License.\n", "MIT"),
        ("source", "# Free for commercial and non-commercial use, released under the MIT license.\n", "MIT"),
        ("source", "# Not for the faint of heart.\n# License: Apache-2.0\n", "Apache-2.0"),
        ("markdown", "# W\n\n![license(MIT)](https://img.example/npm/l/weir)\n", "MIT"),
        ("declared", "Modified BSD License", "BSD-3-Clause"),
        ("declared", "CC BY-NC 4.0 (non-commercial use only)", "CC-BY-NC-4.0"),
        ("web", _PAGE + "This is an open access article distributed under the terms of the Creative Commons Attribution "
         "License, which permits unrestricted use, distribution, and reproduction in any medium, provided that the "
         "original work is properly cited.", "CC-BY-4.0"),
        ("web", _PAGE + "This article is licensed under a Creative Commons Attribution-NonCommercial-NoDerivatives 4.0 "
         "International License, which permits any non-commercial use and sharing in any medium or format.",
         "CC-BY-NC-ND-4.0"),
        ("web", _PAGE + "All content is available under the Open Government Licence v3.0, except where otherwise stated.",
         "OGL-UK-3.0"),
        ("web", _PAGE + "Content is available under GNU Free Documentation License 1.3 or later unless otherwise noted.",
         "GFDL-1.3-or-later"),
    ],
)  # fmt: skip
def test_words_like_those_of_a_denial_leave_a_licence_as_it_is(kind: str, content: str, spdx: str) -> None:
    assert detect(kind, content, None)[0] == spdx


# As the ports of the licences call themselves: elements run together, apart, with a dash or without.
_PORTS = [
    ("Reconocimiento-NoComercial-SinObraDerivada", "BY-NC-ND"), ("Atribución-CompartirIgual", "BY-SA"),
    ("Atribución-SinDerivadas", "BY-ND"), ("Atribuição-NãoComercial-SemDerivações", "BY-NC-ND"),
    ("Naamsvermelding-GeenAfgeleideWerken", "BY-ND"), ("Naamsvermelding-GelijkDelen", "BY-SA"),
    ("Reconeixement-SenseObraDerivada", "BY-ND"), ("Recoñecemento-NonComercial", "BY-NC"),
    ("Aitortu-EzKomertziala", "BY-NC"), ("Erkännande-IckeKommersiell-DelaLika", "BY-NC-SA"),
    ("Erkännande-IngaBearbetningar", "BY-ND"), ("Navngivelse-IngenBearbeidelse", "BY-ND"),
    ("Nimeä-EiKaupallinen-EiMuutoksia", "BY-NC-ND"), ("Uveďte původ-Neužívejte komerčně", "BY-NC"),
    ("Nevezd meg! - Ne add el!", "BY-NC"), ("Atribuire-Necomercial", "BY-NC"), ("Atribuire-FărăDerivate", "BY-ND"),
    ("Imenovanje-Nekomercijalno-Bez prerada", "BY-NC-ND"), ("Ауторство-Некомерцијално", "BY-NC"),
    ("Αναφορά Δημιουργού-Μη Εμπορική Χρήση", "BY-NC"), ("Атрибуция-Без производных", "BY-ND"),
    ("Із Зазначенням Авторства-Некомерційна", "BY-NC"), ("Atıf-GayriTicari", "BY-NC"),
    ("Atribusi-NonKomersial", "BY-NC"), ("Ghi công-Phi thương mại", "BY-NC"), ("Atribusi-BerbagiSerupa", "BY-SA"),
    ("Namensnennung - Nicht kommerziell - Keine Bearbeitungen", "BY-NC-ND"), ("ייחוס-שימוש לא מסחרי", "BY-NC"),
    ("Attribution - Pas d’Utilisation Commerciale - Pas de Modification", "BY-NC-ND"),
    ("Uznanie autorstwa-Użycie niekomercyjne", "BY-NC"), ("نسب المصنف - غير تجاري", "BY-NC"),
]  # fmt: skip


@pytest.mark.parametrize(("elements", "kind"), _PORTS)
def test_the_elements_are_known_by_their_names_in_the_ports(elements: str, kind: str) -> None:
    assert detect("declared", f"Creative Commons {elements} 4.0", None) == (f"CC-{kind}-4.0", False)
    assert inspect("web", f"{_PAGE}© 2020 Fen. Creative Commons {elements} 4.0").permissive is not True


def test_only_what_stands_just_before_a_name_denies_it() -> None:
    assert denied("It is not released under the MIT", len("It is not released under the "))
    assert denied("no longer available under ", 26)
    assert not denied("Not a toy. Released under the MIT", len("Not a toy. Released under the "))


def test_a_name_is_narrowed_within_its_paragraph_only() -> None:
    text = "License: MIT\n\nThe pictures are for non-commercial use."
    assert narrowed(text, 9, 12) is None
    assert narrowed(text.replace("\n\n", "\n"), 9, 12) == "noncommercial"


def test_a_mark_in_text_that_a_broken_tag_ends_lies_in_the_page() -> None:
    content = "creativecommons.org/licenses/by/4.0/'<a rel=license href='</a>"
    found = inspect("web", content)
    assert found.start == 0
    assert found.end == len(content)


def test_text_between_tags_is_the_same_whether_or_not_it_needs_folding() -> None:
    assert read_page("<p>a b</p><p>c\n d &amp; e</p>").text.split("\n") == ["a b", "c d & e", ""]


def test_the_audit_asks_for_restrictions_by_the_names_that_the_stage_gives_them() -> None:
    query = (Path(__file__).parents[2] / "manifests/queries/15_licences.sql").read_text(encoding="utf-8")
    listed = re.search(r"e\.rule IN \(([^)]*)\)", query)
    assert listed
    names = set(re.findall(r"'(\w+)'", listed[1]))
    assert names <= set(RESTRICTIONS) & opt_out_restrictions()
    assert {"noncommercial", "noderivatives", "copyleft"} <= names
