"""From how people write a licence to its SPDX id: names, expressions, addresses, Creative Commons by its elements.

Written for declarations (`License: GPL-2+ or BSD (2 clause)`), and used wherever something names a licence. What is not
understood in full names nothing: of `Mixed, MIT` it would be wrong to read the half that is known. A licence that says
no version is taken at the licensee's choice (GNU) or as its maker's current one (Creative Commons).
"""

from __future__ import annotations

import functools
import itertools
import re

from filters.license_policy import canonical, kind_of_id, known_id, licensing, permissive, policy_lists, spdx_ids

_NOT_AN_ID = {
    "",
    "unknown",
    "other",
    "custom",
    "mixed",
    "special",
    "commercial",
    "proprietary",
    "none",
    "nc",
    "cc",
    "bsd",
}
_ALIASES = {  # spelling without case and punctuation -> id
    "mit": "MIT", "expat": "MIT", "mitexpat": "MIT", "mitx11": "MIT", "mitx": "MIT", "mitjquery": "MIT", "x11": "X11",
    "apache2": "Apache-2.0", "apache20": "Apache-2.0", "apachev2": "Apache-2.0", "apachev20": "Apache-2.0",
    "apacheversion20": "Apache-2.0", "apacheversion2": "Apache-2.0", "asl20": "Apache-2.0", "asl2": "Apache-2.0",
    "apachesoftware20": "Apache-2.0", "apachesoftwareversion20": "Apache-2.0", "al20": "Apache-2.0",
    "apache20opensource": "Apache-2.0", "apache11": "Apache-1.1",
    "bsd2": "BSD-2-Clause", "bsd2clause": "BSD-2-Clause", "bsd2clauses": "BSD-2-Clause", "2clausebsd": "BSD-2-Clause",
    "twoclausebsd": "BSD-2-Clause", "simplifiedbsd": "BSD-2-Clause", "bsdsimplified": "BSD-2-Clause",
    "freebsd": "BSD-2-Clause", "bsd2clausesimplified": "BSD-2-Clause", "bsd2clausefreebsd": "BSD-2-Clause-Views",
    "bsd3": "BSD-3-Clause", "bsd3clause": "BSD-3-Clause", "bsd3clauses": "BSD-3-Clause", "3clausebsd": "BSD-3-Clause",
    "threeclausebsd": "BSD-3-Clause", "newbsd": "BSD-3-Clause", "modifiedbsd": "BSD-3-Clause",
    "revisedbsd": "BSD-3-Clause", "bsdnew": "BSD-3-Clause", "bsd3clauseneworrevised": "BSD-3-Clause",
    "bsd4": "BSD-4-Clause", "bsd4clause": "BSD-4-Clause", "4clausebsd": "BSD-4-Clause",
    "zlib": "Zlib", "zliblibpng": "Zlib", "boost": "BSL-1.0", "boost10": "BSL-1.0", "boostsoftware10": "BSL-1.0",
    "boostsoftware": "BSL-1.0", "boostsoftwareversion10": "BSL-1.0", "unlicense": "Unlicense", "isc": "ISC",
    "publicdomain": "LicenseRef-public-domain", "pdm": "LicenseRef-public-domain", "pd": "LicenseRef-public-domain",
    "cc0": "CC0-1.0", "cc010": "CC0-1.0", "cc010universal": "CC0-1.0", "creativecommonszero": "CC0-1.0",
    "creativecommonszerov10universal": "CC0-1.0", "cczero": "CC0-1.0",
    "artistic": "Artistic-1.0-Perl", "artistic1": "Artistic-1.0-Perl", "artistic2": "Artistic-2.0",
    "perl": "Artistic-1.0-Perl OR GPL-1.0-or-later", "perl5": "Artistic-1.0-Perl OR GPL-1.0-or-later",
    "sameasperl": "Artistic-1.0-Perl OR GPL-1.0-or-later", "psf": "PSF-2.0", "psfl": "PSF-2.0", "psf2": "PSF-2.0",
    "pythonsoftwarefoundation": "PSF-2.0", "python": "PSF-2.0", "wtfpl": "WTFPL", "wtfpl2": "WTFPL",
    "zpl": "ZPL-2.1", "zpl21": "ZPL-2.1", "zope21": "ZPL-2.1", "zopepublic21": "ZPL-2.1", "zopepublic": "ZPL-2.1",
    "mpl": "MPL-2.0", "mpl2": "MPL-2.0", "mpl20": "MPL-2.0", "mpl11": "MPL-1.1", "mozillapublic20": "MPL-2.0",
    "mozillapublicversion20": "MPL-2.0", "mozillapublic11": "MPL-1.1", "epl1": "EPL-1.0", "epl2": "EPL-2.0",
    "eclipsepublic10": "EPL-1.0", "eclipsepublic20": "EPL-2.0", "cddl": "CDDL-1.0", "cddl1": "CDDL-1.0",
    "ofl": "OFL-1.1", "sil": "OFL-1.1", "silopenfont11": "OFL-1.1", "silofl11": "OFL-1.1", "odcby": "ODC-By-1.0",
    "odbl": "ODbL-1.0", "afl": "AFL-2.1", "etalab": "etalab-2.0", "etalabopen20": "etalab-2.0",
    "datenlizenzdeutschlandnamensnennung20": "DL-DE-BY-2.0", "cuda": "C-UDA-1.0", "w3c": "W3C", "ncsa": "NCSA",
    "universalpermissive10": "UPL-1.0", "upl": "UPL-1.0", "eupl12": "EUPL-1.2", "eupl": "EUPL-1.2",
    "academicfree21": "AFL-2.1", "academicfree30": "AFL-3.0", "blueoak": "BlueOak-1.0.0",
    "apache": "Apache-2.0", "postgresql": "PostgreSQL", "hpnd": "HPND", "busl": "BUSL-1.1",
    "sspl": "SSPL-1.0", "0bsd": "0BSD", "lgpl21": "LGPL-2.1-only", "lgpl3": "LGPL-3.0-only", "gpl2": "GPL-2.0-only",
    "gpl3": "GPL-3.0-only", "asl": "Apache-2.0", "apachelicense2": "Apache-2.0", "ruby": "Ruby", "vim": "Vim",
    "bsd2clausepatent": "BSD-2-Clause-Patent", "perl5same": "Artistic-1.0-Perl OR GPL-1.0-or-later",
}  # fmt: skip
_EXCEPTIONS = (
    ("bison", "Bison-exception-2.2"), ("autoconf", "Autoconf-exception-2.0"), ("libtool", "Libtool-exception"),
    ("classpath", "Classpath-exception-2.0"), ("syscall", "Linux-syscall-note"), ("gcc", "GCC-exception-3.1"),
    ("openssl", "openvpn-openssl-exception"), ("llvm", "LLVM-exception"), ("font", "Font-exception-2.0"),
)  # fmt: skip
_GNU_NAME = re.compile(
    r"(?:the )?(?:gnu )?(?P<family>agpl|lgpl|gfdl|fdl|gpl|(?:affero|lesser|library) (?:gpl|general public)|"
    r"general public|free documentation)(?: licen[sc]e)?"
    r"(?:[ ,(-]*(?:v|ver\.?|versions?)?[ .]*(?P<version>[1-3](?:\.[0-3])?)(?:\.0)?)?"
    r"(?P<later>\+|[ ,(-]*or[ -](?:\(at your option\) )?(?:any )?(?:later|newer|above|higher).*)?(?P<only>[ -]only)?"
    r"[ )]*(?:licen[sc]e)?\Z"
)
GNU_FAMILIES = {
    "agpl": "AGPL", "affero gpl": "AGPL", "affero general public": "AGPL", "lgpl": "LGPL", "lesser gpl": "LGPL",
    "library gpl": "LGPL", "lesser general public": "LGPL", "library general public": "LGPL", "gfdl": "GFDL",
    "fdl": "GFDL", "free documentation": "GFDL", "gpl": "GPL", "general public": "GPL",
}  # fmt: skip
# Without a version the licensee may choose any that was ever published.
GNU_FIRST = {"AGPL": "3.0", "LGPL": "2.0", "GFDL": "1.1", "GPL": "1.0"}
CC_URL = re.compile(
    r"creativecommons\.org/(?:licen[sc]es/(?P<type>by(?:-[a-z]{2}){0,2}|publicdomain)|publicdomain/(?P<pd>zero|mark))"
    r"(?:/(?P<version>\d\.\d))?(?:/(?P<port>[a-z]{2,8})(?![a-z.]))?",
    re.IGNORECASE,
)


# Beside a permissive name these make it another licence: `MIT (research only)`.
_LIMITS = re.compile(
    r"non[- ]?commerc|\bcommercial\b|\b(?:not|only|except|prohibited)\b|"
    r"\b(?:personal|academic|research|educational|evaluation|internal|scientific) (?:use|purpose)|commons[- ]clause",
    re.IGNORECASE,
)


@functools.lru_cache(maxsize=8192)
def parse_declared(text: str) -> str | None:
    """The SPDX expression that a declaration means, None when any part of it is not a licence that we know."""
    text = re.sub(r"\s+", " ", text.replace("，", ",")).strip().strip(".*_`'\"[]")
    if not text or len(text) > 200:
        return None
    if text.count("(") != text.count(")"):  # half of an expression, which may turn "and" into "or"
        text = text.replace("(", " ").replace(")", " ") if not re.search(r"\b(?:and|or)\b", text, re.I) else ""
    if name := _one_name(text):
        return None if permissive(name) and _LIMITS.search(text) else name
    if expression := _expression(text):
        return expression
    bare = re.sub(r" ?\([^()]*\)", "", text).strip(" ()")
    if _LIMITS.search(text):
        return None
    if bare != text and (name := _one_name(bare)):
        return name
    for pattern, operator in ((r",? or |\|\|?|/|; or ", " OR "), (r" and |[,;&] | [&+] |,", " AND ")):
        parts = [part.strip(" ,;") for part in re.split(pattern, bare, flags=re.IGNORECASE)]
        if len(parts) > 1 and not bare.startswith("http"):
            names = [parse_declared(part) for part in parts]
            if all(names):
                joined = operator.join(f"({name})" if " " in name else name for name in names if name)
                return canonical(joined)
            return None
    return None


def _expression(text: str) -> str | None:
    """The text if it is an SPDX expression of known ids; its words are looked up first, since parsing takes 0.3 ms."""
    words = re.findall(r"[^\s()]+", text.lower())
    if not all(word in ("and", "or", "with") or word in _lower_ids() for word in words):
        return None
    try:
        parsed = licensing().parse(text, validate=True)
    except Exception:  # boolean.py and license-expression raise several types on what only looks like one
        return None
    return canonical(str(parsed)) if parsed is not None else None


@functools.cache
def _lower_ids() -> frozenset[str]:
    aliases = (alias for symbol in licensing().known_symbols.values() for alias in symbol.aliases)
    return frozenset(name.lower() for name in itertools.chain(licensing().known_symbols, aliases))


def _one_name(text: str) -> str | None:
    name = text.lower().strip()
    if "creativecommons.org/" in name:
        found = CC_URL.search(name)
        return cc_id_of_url(found) if found else None
    if name.startswith(("http", "//")):
        return licence_of_url(name)
    exception = re.match(r"(.*?)[ -]+(?:with|w/)[ -](?:the )?(.*)|(.*?)[ -]+(libtool)[ -]exception", name)
    if exception:
        base = _one_name((exception[1] or exception[3]).strip(" -"))
        rest = exception[2] or exception[4]
        named = next((id for word, id in _EXCEPTIONS if word in rest), None)
        return f"{base} WITH {named}" if base and named and " " not in base else None
    if gnu := _GNU_NAME.match(name):
        family = GNU_FAMILIES[gnu["family"]]
        if gnu["version"] is None:
            return f"{family}-{GNU_FIRST[family]}-or-later"
        version = gnu["version"] if "." in gnu["version"] else gnu["version"] + ".0"
        return known_id(f"{family}-{version}-{'or-later' if gnu['later'] else 'only'}")
    if not re.search(r",| and | or |/|;| & (?!.*alike)|\+", name) and (cc := cc_in_words(name)):
        return cc
    squashed = re.sub(r"[^a-z0-9]", "", re.sub(r"\blicen[sc]ed?\b|\bthe\b|\bversion\b|\(.*?\)", "", name))
    if squashed in _NOT_AN_ID:
        return None
    if squashed in _ALIASES:
        return _ALIASES[squashed]
    squashed = squashed.removesuffix("software")
    if squashed in _ALIASES:
        return _ALIASES[squashed]
    return _ids_by_spelling().get(re.sub(r"[^a-z0-9.+]", "", name))


def licence_of_url(address: str) -> str | None:
    """The licence that is published at an address, by the lists' `[addresses]` and the sites that name files by id."""
    address = address.lower()
    for part, spdx_id in policy_lists()["addresses"].items():
        if part in address:
            return str(spdx_id)
    found = re.search(
        r"(?:opensource\.org/licen[sc]es?|spdx\.org/licenses|gnu\.org/(?:licenses|copyleft)|mozilla\.org/mpl|"
        r"choosealicense\.com/licenses)/(?:old-licenses/)?([a-z0-9.-]+?)(?:\.(?:html|php|txt|json)|-license)*/?\Z",
        address,
    )
    return _one_name(found[1]) if found and found[1] != address else None


@functools.cache
def _ids_by_spelling() -> dict[str, str]:
    return {re.sub(r"[^a-z0-9.+]", "", id.lower()): id for id in kind_of_id()}


def cc_id(kind: str, version: str | None, port: str | None) -> str | None:
    """The id of a Creative Commons licence by its elements (`by-nc`), version and jurisdiction."""
    kind = kind.upper()
    if kind == "BY-ND-NC":
        kind = "BY-NC-ND"
    if kind == "BY-SA-NC":
        kind = "BY-NC-SA"
    if kind not in ("BY", "BY-SA", "BY-NC", "BY-ND", "BY-NC-SA", "BY-NC-ND"):
        return None
    spdx_id = f"CC-{kind}-{version or '4.0'}"  # a mark without version: its maker's current one
    if port and f"{spdx_id}-{port.upper()}" in spdx_ids():
        return f"{spdx_id}-{port.upper()}"
    return spdx_id if spdx_id in spdx_ids() else f"CC-{kind}-4.0"


def cc_id_of_url(found: re.Match[str]) -> str | None:
    """The id of a match of `CC_URL`; `deed.de` is a language, `/de/` a jurisdiction."""
    if found["pd"]:
        return "CC0-1.0" if found["pd"].lower() == "zero" else "LicenseRef-public-domain"
    if found["type"].lower() == "publicdomain":
        return "LicenseRef-public-domain"
    return cc_id(found["type"], found["version"], found["port"])


# The four elements as the deeds name them in the languages of the ports, run together or apart (`SinObraDerivada`).
_CC_ELEMENTS = {
    "nc": r"\bnc\b|not for (?:any )?commercial|no commercial use|"
    r"non?[- ]?comm?erci|nicht[- ]?komm?erzi|keine[- ]?komm?erziel|pas d.utilisation[- ]?commerciale|"
    r"n[ãa]o[- ]?comercial|niet[- ]?commerci|(?:użycie )?niekomercyjn|н[еі][- ]?ком+ер[цс]|gayri ?ticari|"
    r"非営利|非商业|非商業|비영리|i[kc]ke[- ]?komm?er[sc]i|ei[- ]?kaupalli|ez[- ]?komertzi|"
    r"ne[- ]?komer[cč]|neužívejte (?:dílo )?komerčně|ne kereskedelmi|ne add el|ne[- ]?comercial|nonkomersi|"
    r"phi thương mại|mitteäriline|ekki í ágóða|μη[- ]εμπορικ|غير[- ]?(?:ال)?تجاري|غیر[\u200c -]?تجاری|לא מסחרי|"
    r"ไม่ใช้เพื่อการค้า",
    "nd": r"\bnd\b|no[- ]?deriv|keine[- ]?bearbeitung|pas de modification|sin ?(?:obras? ?)?deriva|sem ?deriva|"
    r"geen ?afgeleide|bez utworów zależnych|без (?:производных|похідних|производни)|türetilemez|改変禁止|"
    r"禁止演绎|禁止演繹|禁止改作|변경금지|non opere derivate|ingen ?bearbe|inga ?bearbe|nezpracováv|nespracová|"
    r"sens?e? ?obra ?derivada|lan ?eratorririk|ei ?muutoksia|fără ?(?:lucrări ?)?deriva|bez prerad|без прерад|"
    r"brez predelav|ne változtasd|tanpa ?turunan|không phái sinh|tuletatud teoste keeld|bez atvasin|be išvestin|"
    r"engar afleiður|όχι[- ]παράγωγα|منع الاشتقاق|بدون اشتقاق|איסור יצירות|ไม่ดัดแปลง",
    "sa": r"\bsa\b|share[- ]?alike|gleichen bedingungen|partage (?:dans les mêmes conditions|à l.identique)|"
    r"compartir ?igual|compartilha ?igual|partilha ?(?:nos mesmos|igual)|gelijk ?delen|na tych samych warunkach|"
    r"(?:с сохранением|на тех же) услови|на тих самих умовах|споделяне на споделеното|aynı ?lisansla|lisans ?devam|"
    r"継承|相同方式共享|相同方式分享|동일조건|condividi allo stesso modo|del på ?(?:samme|samma) ?vil|dela ?lika|"
    r"zachovejte|rovnaké šírenie|így add tovább|partekatu ?berdin|jaa ?samoin|distribuire ?în ?condi|"
    r"(?:dijeli|deliti|deljenje) pod (?:istim|enakimi)|делити под истим|berbagi ?serupa|chia sẻ tương tự|"
    r"samadel tingimustel|analogiškas platinimas|deila eins|παρόμοια διανομή|(?:الترخيص|المشاركة) بالمثل|שיתוף זהה|"
    r"อนุญาตแบบเดียวกัน",
    "by": r"\bby\b|attribution|namensnennung|paternité|reconocimiento|reconeixement|recoñecemento|aitortu|atribu|"
    r"attribuzione|naamsvermelding|uznanie autorstwa|указанием авторства|атрибуция|зазначенням авторства|"
    r"表示|署名|姓名標示|저작자|navngivelse|erkännande|nimeä|uveďte|nevezd meg|imenovanje|autorstvo|ауторство|"
    r"priznanje avtorstva|αναφορά|\batıf|atribusi|ghi công|autorile viitamine|نسب المصنف|ייחוס|แสดงที่มา",
}
CC_PATTERNS = {element: re.compile(pattern, re.IGNORECASE) for element, pattern in _CC_ELEMENTS.items()}
CC_NAMES = (  # how the organisation writes itself, or is written
    "creative[ -]?commons|クリエイティブ・?コモンズ|知[识識]共享|[创創]用 ?cc|크리에이티브 ?커[먼몬]즈|المشاع الإبداعي|"
    "کر[یی]*ت[یی]و کامنز|क्रिएटिव कॉमन्स|ক্রিয়েটিভ কমন্স|ครีเอทีฟ ?คอมมอน|קריאייטיב קומונס|криейтив комънс|креатив комонс|"
    "креативна заједница|крэатыў комманс|கிரியேட்டிவ் காமன்ஸ்|ക്രിയേറ്റീവ് കോമൺസ്|క్రియేటివ్ కామన్స్"
)
CC_NAME = re.compile(rf"{CC_NAMES}|(?<![a-z0-9])cc(?=[ -]*(?:by|0|zero|-?licen[sc]|-?lizenz))", re.IGNORECASE)


def cc_in_words(text: str) -> str | None:
    """A Creative Commons licence named in a short text, by its elements; None when it names none or several."""
    found = CC_NAME.search(text)
    if not found:
        return None
    rest = text[found.start() :]
    if re.match(r"cc ?-?(?:0|zero)|creative[ -]?commons[ -](?:cc ?-?)?(?:0|zero)", rest, re.IGNORECASE):
        return "CC0-1.0"
    if len(re.findall(r"\bby\b", rest, re.IGNORECASE)) > 1 and "," in rest:
        return None
    by = CC_PATTERNS["by"].search(rest)
    if not by:
        return None
    elements = ["BY"] + [element.upper() for element in ("nc", "nd", "sa") if CC_PATTERNS[element].search(rest)]
    if elements[-2:] == ["ND", "SA"]:
        return None
    if elements == ["BY"] and (joined := _JOINED.match(rest, by.end())) and not _NO_ELEMENT.match(joined[1]):
        return None  # what is joined to the first element may be another, in a language that we do not know
    version = re.search(r"(?<![\d.])([1-4])(?:\.([05]))?(?![\d.]\d)", rest)
    if version is None and re.fullmatch(r"cc[ -]by", text.strip(), re.IGNORECASE):
        return None  # two letters without a version, as a whole declaration, is not enough to go by
    number = f"{version[1]}.{version[2] or '0'}" if version else None
    port = re.search(r"\b(de|at|ch|us|uk|au|nl|igo|fr|it|es)\b\W*\Z", rest, re.IGNORECASE)
    return cc_id("-".join(elements), number, port[1] if port and number else None)


_JOINED = re.compile(r"[^\W\d_]*\s?[-–—‑・]\s?([^\W\d_]{3,})")
_NO_ELEMENT = re.compile(r"li[cz]en|unported|intern|generic|version|public|[a-z]{2}\b", re.IGNORECASE)
