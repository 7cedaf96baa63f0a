"""TODO"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from filters.license_finding import Finding, granted
from filters.license_gate import SIDE_MARKS, sentence_at
from filters.license_names import CC_NAME, CC_URL, cc_id_of_url, cc_in_words
from filters.license_policy import restrictiveness

OWN = re.compile(
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
OTHERS = re.compile(
    r"\b(?:image|images|photo|photos|photograph|photographs|photography|picture|pictures|figure|fig\.|"
    r"illustration|icon|icons|logo|video|videos|music|sound|audio|song|font|"
    r"fonts|map|maps|tiles|theme|template|plugin|software|code|script|library|library's|dataset|data set|data|"
    r"package|program|"
    r"bild|bilder|foto|fotos|grafik|abbildung|titelbild|beitragsbild|header-?bild|quelle|karte|imagen|imágenes|"
    r"fotografía|immagine|immagini|zdjęcie|"
    r"фото|изображени\w*|flickr|wikimedia commons|openstreetmap|unsplash|pixabay|via)\b|画像|写真|图片|圖片",
    re.IGNORECASE,
)
TALKS = re.compile(
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
LICENSES = re.compile(
    r"licen[sc]|lizen[sz]|licenc|licença|лиценз|ліценз|lisans|lisens|ライセンス|许可|許可|授權|授权|라이선스|released|published|"
    r"available|"
    r"distributed|shared|waived|dedicated|under|unter|sous|bajo|sob\b|sotto|onder|na\b|по\b",
    re.IGNORECASE,
)


def _speaks_for_the_page(sentence: str) -> bool:
    """Whether a sentence that names a licence puts the page under it."""
    if TALKS.search(sentence):
        return False
    own, others = OWN.search(sentence), OTHERS.search(sentence)
    if others and (own is None or others.start() < own.start()):
        return False
    if own:
        return bool(LICENSES.search(sentence))
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


def cc_marks(window: str, base: int) -> Iterator[Finding]:
    seen_to = -1
    for found in itertools.islice(CC_NAME.finditer(window), 4 * SIDE_MARKS):
        if found.start() < seen_to:
            continue
        begin, stop = sentence_at(window, found.start(), found.end())
        sentence = window[begin:stop]
        seen_to = stop
        if not _speaks_for_the_page(sentence):
            continue
        url = CC_URL.search(window, found.start(), min(len(window), stop + 120))
        expression = cc_in_words(window[found.start() : min(stop, found.start() + 160)])
        by_url = cc_id_of_url(url) if url else None
        if by_url and (expression is None or by_url != expression):
            expression = (
                by_url if expression is None or restrictiveness(by_url) >= restrictiveness(expression) else expression
            )
        if expression:
            yield granted(expression, "cc-mark", base + found.start(), base + min(stop, found.start() + 160), 0.8)


def dedication_marks(window: str, base: int) -> Iterator[Finding]:
    if "CC0" in window or "public domain" in window.lower():
        for found in itertools.islice(_DEDICATION.finditer(window), SIDE_MARKS):
            begin, stop = sentence_at(window, found.start(), found.end())
            if not TALKS.search(window[begin:stop]) and (OWN.search(window[begin:stop]) or "CC0" in window[begin:stop]):
                spdx_id = "CC0-1.0" if "CC0" in window[begin : stop + 60] else "LicenseRef-public-domain"
                yield granted(spdx_id, "cc-mark", base + begin, base + stop, 0.7)
