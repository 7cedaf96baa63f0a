"""Lines that are no language, for the label `zxx_Latn` of the language model: program text and its kin.

Program text comes from the standard library of the Python that trains (PSF licence): identifiers and keywords, without
comments and strings. Markup, styles, queries, logs and addresses are made here from the vocabulary of their formats,
which is what such text on the web has in common. Encoded data needs no lines: none of its words is known to any label.
"""

from __future__ import annotations

import io
import sysconfig
import tokenize
from pathlib import Path

import numpy as np

_WORDS = {
    "markup": """div span class href src img alt width height style table tr td th ul li ol nav header footer section
        article button input type text submit form action method post label for id name value script link rel stylesheet
        meta charset utf viewport content html head body title br hr h1 h2 h3 p a strong em iframe svg path viewbox fill
        stroke data aria role onclick target blank nofollow noopener amp nbsp quot lt gt http https www com org net""",
    "style": """margin padding border color background display flex block inline none width height px em rem auto solid
        rgba rgb hex font size weight bold family sans serif arial helvetica position absolute relative fixed top left
        right bottom zindex overflow hidden float clear important hover active focus before after content transition
        ease transform rotate scale translate opacity media screen min max webkit moz keyframes animation cursor""",
    "script": """function var let const return if else for while do switch case break continue new this null undefined
        true false typeof instanceof document getelementbyid queryselector addeventlistener window console log json
        stringify parse settimeout promise async await then catch export default import from require module prototype
        push length foreach map filter reduce jquery ajax url success error math random floor math object keys array""",
    "query": """select from where and or insert into values update set delete join left inner on group by order desc asc
        limit offset having count sum avg max min distinct create table primary key not null varchar int integer text
        timestamp default index unique foreign references alter add column drop exists union all case when then end""",
    "system": """include stdio stdlib int char void struct static const unsigned long double float sizeof malloc free
        printf return std vector string cout endl namespace template typename public private protected virtual override
        class bool nullptr auto enum define ifdef endif pragma once usr bin env bash echo export path home sudo apt get
        install chmod mkdir grep awk sed cat tmp etc var log dev null exit fi esac done func package main fmt println
        err nil defer chan impl fn mut pub use crate struct match some ok unwrap""",
    "log": """info warn error debug trace exception stack at line null pointer java lang org apache com google thread
        main pid uid get post put http status ok timeout retry connection refused localhost tcp udp port host request
        response server client user agent mozilla gecko chrome safari windows nt linux x86 amd64 utf json xml true
        false id uuid version build commit sha md5 kb mb ms sec""",
}


def lines(count: int, seed: int) -> list[str]:
    """So many lines, half of them program text; the same seed and standard library give the same lines."""
    random = np.random.default_rng(seed)
    program = _program()
    chosen = random.permutation(len(program))[: count // 2]
    made = [program[place] for place in sorted(chosen.tolist())]
    kinds = sorted(_WORDS)
    vocabularies = {kind: text.split() for kind, text in _WORDS.items()}
    while len(made) < count:
        words = vocabularies[kinds[int(random.integers(len(kinds)))]]
        made.append(" ".join(words[place] for place in random.integers(len(words), size=12)))
    return made


def _program() -> list[str]:
    """Statements of the standard library's top-level modules, as names and keywords."""
    found = []
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        names: list[str] = []
        try:
            for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
                if token.type == tokenize.NAME:
                    names.append(token.string)
                if len(names) == 12:
                    found.append(" ".join(names))
                    names = []
        except (tokenize.TokenError, SyntaxError, UnicodeDecodeError):
            continue
    return found
