"""A web corpus of nonsense words, made by code, for a bench without the development data and for its tests.

Words are syllables of eight invented languages in eight scripts, drawn with Zipf-like frequencies; hosts and their
robots.txt files, e-mail addresses, IP addresses and IBANs are planted. Same arguments, same bytes. It has the shape of
web text (4 KB per page, a few hosts with many pages), not its content: language scores on it mean nothing, and figures
taken on it are comparable with each other only.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SYLLABLES = {
    "qaa_Latn": "ba ke lo mi nu ra se ti vo zu gral stin",
    "qab_Latn": "hlø jå kæn myr råd syk vend ør gre ta",
    "qac_Cyrl": "ба ве ги до жу за ки лом ну пре ств",
    "qad_Grek": "αβ γε δι ζο θα κυ λει μο νη πρα στω",
    "qae_Arab": "با ته جي دو را سا شي عل غو في كم",
    "qaf_Deva": "का खी गु चे जो टा डी तु दे नो पा",
    "qag_Thai": "กา ขี คู งอ จะ ชิ ดุ เต ทอ นา",
    "qah_Hani": "山 水 火 木 金 土 日 月 人 口 手 心 天 大 小 中",
}
SLURS = ("grobnak", "vilshtup", "krazzek", "murdfol")
"""Words of the invented languages that are as rude as it gets there; they mark a document as toxic."""

ROBOTS = (
    None,
    b"User-agent: *\nDisallow:\n",
    b"User-agent: *\nDisallow: /private/\nDisallow: /*?sort=\nCrawl-delay: 5\n",
    b"User-agent: GPTBot\nUser-agent: CCBot\nDisallow: /\n\nUser-agent: *\nAllow: /\n",
    b"User-agent: Googlebot\nDisallow: /search\n\nUser-agent: *\nDisallow: /search\nSitemap: /sitemap.xml\n",
)
"""Files of the hosts, by rank: none, allow all, some paths, two AI agents refused everything, some paths."""


@dataclass(frozen=True)
class Planted:
    """What is true of one generated document: is it refused by robots.txt, of two languages, toxic; its PII."""

    id: str
    refused: bool
    mixed: bool
    toxic: bool
    pii: tuple[str, ...]


def generate(folder: Path, documents: int, seed: int = 0, rows_per_file: int = 3000) -> list[Planted]:
    """Write `folder/pages/*.parquet` and `folder/robots.parquet`; what was planted, in row order."""
    random_ = random.Random(seed)
    hosts = [f"site{rank}.example" for rank in range(max(10, documents // 4))]
    popularity = [1 / (rank + 1) for rank in range(len(hosts))]
    vocabularies = {language: _vocabulary(language) for language in SYLLABLES}
    planted, rows = [], []
    for number in range(documents):
        row, truth = _document(random_, number, random_.choices(range(len(hosts)), popularity)[0], vocabularies)
        rows.append(row)
        planted.append(truth)
    pages = folder / "pages"
    pages.mkdir(parents=True, exist_ok=True)
    for first in range(0, documents, rows_per_file):
        table = pa.Table.from_pylist(rows[first : first + rows_per_file])
        pq.write_table(table, pages / f"{first // rows_per_file:03d}.parquet", compression="zstd")
    bodies = [ROBOTS[rank % len(ROBOTS)] for rank in range(len(hosts))]
    snapshot = {
        "host": hosts,
        "fetched_at": ["2026-01-01"] * len(hosts),
        "status": pa.array([404 if body is None else 200 for body in bodies], pa.int16()),
        "body": pa.array(bodies, pa.binary()),
    }
    pq.write_table(pa.table(snapshot), folder / "robots.parquet")
    return planted


def labelled_sentences(count: int, seed: int = 0) -> Iterator[tuple[str, bool]]:
    """Sentences in all languages; half of them hold a slur and are toxic."""
    random_ = random.Random(seed)
    for number, (_, sentence) in enumerate(generated_sentences(count, seed)):
        toxic = number % 2 == 0
        yield f"{sentence} {' '.join(random_.choices(SLURS, k=4))}" if toxic else sentence, toxic


def generated_sentences(count: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Pairs of language and sentence, in all languages."""
    random_ = random.Random(seed)
    vocabularies = {language: _vocabulary(language) for language in SYLLABLES}
    for _ in range(count):
        language = random_.choice(list(SYLLABLES))
        yield language, " ".join(_words(random_, vocabularies[language], 12))


def _document(
    random_: random.Random, number: int, rank: int, vocabularies: dict[str, list[str]]
) -> tuple[dict[str, object], Planted]:
    language = random_.choice(list(SYLLABLES))
    space = "" if language in ("qag_Thai", "qah_Hani") else " "
    paragraphs = [
        space.join(_words(random_, vocabularies[language], random_.randint(20, 80)))
        for _ in range(random_.randint(2, 12))
    ]
    pii = []
    if random_.random() < 0.2:
        pii.append(f"user{number}@mail{rank}.example")
    if random_.random() < 0.1:
        pii.append(f"203.0.113.{random_.randint(1, 254)}")
    if random_.random() < 0.1:
        pii.append(
            f"DE{random_.randint(10, 98)} " + " ".join(f"{random_.randint(0, 9999):04d}" for _ in range(4)) + " 42"
        )
    fate = random_.random()
    mixed, toxic = fate < 0.05, fate > 0.95
    if mixed:
        paragraphs = [" ".join(_words(random_, words, 50)) for words in vocabularies.values()]
    if toxic:
        paragraphs = [f"{paragraph}{space}{' '.join(random_.choices(SLURS, k=20))}" for paragraph in paragraphs]
    text = "\n".join(paragraphs + [f"( {value} )" for value in pii])
    url_path = random_.choice(("news", "private", "search", "blog"))
    row = {
        "text": text,
        "id": f"<urn:uuid:{number:08d}>",
        "dump": "CC-MAIN-2024-10",
        "url": f"https://site{rank}.example/{url_path}/{number}",
        "date": "2024-03-01T00:00:00Z",
        "language": language[:3],
        "language_score": 0.99,
        "language_script": language[4:],
    }
    everything = rank % len(ROBOTS) == 3
    prefix = {2: "private", 4: "search"}.get(rank % len(ROBOTS))
    return row, Planted(str(row["id"]), everything or prefix == url_path, mixed, toxic, tuple(pii))


def _vocabulary(language: str, size: int = 4000) -> list[str]:
    random_ = random.Random(language)  # a string seeds the same way in every process
    syllables = SYLLABLES[language].split()
    return ["".join(random_.choices(syllables, k=random_.randint(1, 4))) for _ in range(size)]


def _words(random_: random.Random, vocabulary: list[str], count: int) -> list[str]:
    # the exponential gives a few words most of the text, as in any language
    return [vocabulary[min(int(random_.expovariate(1 / 300)), len(vocabulary) - 1)] for _ in range(count)]
