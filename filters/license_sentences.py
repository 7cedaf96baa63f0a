"""Words by which a sentence about a licence is told: its subject, talk, other people's things; and dedications."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from filters.license_finding import Finding, granted
from filters.license_gate import SIDE_MARKS, sentence_at

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
    r"would|might|was|were|had|their|his|her|its own|nicht unter|not (?:under|licensed|available)|no longer|formerly|"
    r"previously|instead of|"
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


_DEDICATION = re.compile(
    r"waived all copyright|waives? all (?:his|her|their|its)? ?(?:copyright|rights)|"
    r"(?:dedicated|released|placed) (?:in)?to the public domain|is in the public domain",
    re.IGNORECASE,
)


def dedication_marks(window: str, base: int) -> Iterator[Finding]:
    """Dedications to the public domain, of the page itself."""
    if "CC0" in window or "public domain" in window.lower():
        for found in itertools.islice(_DEDICATION.finditer(window), SIDE_MARKS):
            begin, stop = sentence_at(window, found.start(), found.end())
            if not TALKS.search(window[begin:stop]) and (OWN.search(window[begin:stop]) or "CC0" in window[begin:stop]):
                spdx_id = "CC0-1.0" if "CC0" in window[begin : stop + 60] else "LicenseRef-public-domain"
                yield granted(spdx_id, "cc-mark", base + begin, base + stop, 0.7)
