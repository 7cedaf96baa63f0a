"""A small crawl made in code: pages on invented hosts, a robots.txt snapshot, and a recipe over both."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.curate import Plan, RunResult, curate, make_plan
from pipeline.recipe import load_recipe

WORDS = [
    "harbour",
    "lantern",
    "orchard",
    "ferry",
    "timetable",
    "baker",
    "garden",
    "telescope",
    "violin",
    "river",
    "meadow",
    "clock",
    "chapter",
    "winter",
    "market",
    "bridge",
    "window",
    "letter",
    "kitchen",
    "island",
    "painter",
    "station",
    "pocket",
    "summer",
    "forest",
    "copper",
    "engine",
    "thread",
]
ROBOTS = {
    "open.example": (200, b"User-agent: *\nDisallow:\n"),
    "shop.example": (200, b"User-agent: *\nDisallow: /cart\n"),
    "closed.example": (200, b"User-agent: GPTBot\nDisallow: /\n"),
    "barred.example": (200, b"User-agent: *\nDisallow: /\n"),
    "gone.example": (404, None),
    "broken.example": (503, None),
}
HOSTS = [*ROBOTS, "unlisted.example", "müsli.example"]


def pages(count: int, seed: int = 1, contact: bool = True) -> list[dict]:
    """Rows of FineWeb-2's schema; every seventh carries an e-mail address."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        host = rng.choice(HOSTS)
        text = " ".join(rng.choice(WORDS) for _ in range(rng.randint(30, 120))).capitalize() + "."
        if contact and number % 7 == 0:
            text += f" Write to keeper{number}@lanternpost.net for details."
        rows.append(
            {
                "text": text,
                "id": f"<urn:uuid:{rng.getrandbits(128):032x}>"[:18] + f"-0000-0000-0000-{rng.getrandbits(48):012x}>",
                "url": f"https://{host}/{rng.choice(['', 'cart/', 'news/'])}{number}",
                "dump": "TEST-2025-01",
                "date": "2025-01-02T03:04:05Z",
                "language": "eng",
                "language_script": "Latn",
                "language_score": 0.99,
            }
        )
    return rows


def write_parquet(path: Path, rows: list[dict], row_group: int = 100) -> Path:
    """Rows as a Parquet file with small row groups."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=row_group)
    return path


def write_jsonl(path: Path, lines: list[str | dict]) -> Path:
    """Lines as they are, rows as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


def write_snapshot(
    path: Path, robots: dict[str, tuple[int, bytes | None]] | None = None, fetched_at: str = "2025-01-01"
) -> Path:
    """A robots.txt snapshot."""
    robots = ROBOTS if robots is None else robots
    rows = [
        {"host": host, "status": status, "body": body, "fetched_at": fetched_at}
        for host, (status, body) in robots.items()
    ]
    schema = pa.schema(
        [("host", pa.string()), ("status", pa.int16()), ("body", pa.binary()), ("fetched_at", pa.string())]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


RECIPE = """
name = "test"
[source.web]
path = "pages"
kind = "web"
[policy.web]
robots = { snapshot = "robots.parquet" }
pii = {}
[output]
row_group_rows = 50
"""


def make_crawl(folder: Path, files: int = 3, rows: int = 120, recipe: str = RECIPE) -> Path:
    """Pages, snapshot and recipe in `folder`; returns the recipe's path."""
    for number in range(files):
        write_parquet(folder / "pages" / f"{number:03d}.parquet", pages(rows, seed=number))
    write_snapshot(folder / "robots.parquet")
    path = folder / "recipe.toml"
    path.write_text(recipe)
    return path


def planned(recipe: Path, *overrides: str, limit: int | None = None) -> Plan:
    """The plan of a recipe file."""
    return make_plan(load_recipe(recipe, overrides), limit)


def run(recipe: Path, out: Path, *overrides: str, workers: int = 1, **options: object) -> RunResult:
    """Plan and curate."""
    return curate(planned(recipe, *overrides), out, workers, **options)  # type: ignore[arg-type]


def files_of(corpus: Path) -> dict[str, bytes]:
    """Every file that belongs to a corpus (logs and lock do not), by relative name."""
    return {
        path.relative_to(corpus).as_posix(): path.read_bytes()
        for path in sorted(corpus.rglob("*"))
        if path.is_file() and path.relative_to(corpus).parts[0] in ("shards", "manifests")
    }
