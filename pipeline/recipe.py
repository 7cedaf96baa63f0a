"""Recipes: what goes in, under which policy, and how it comes out, in one TOML file that is checked before any work.

    name = "my corpus"
    [source.web]                     # any number of sources
    path = "pages/*.parquet"         # file, folder or glob; any fsspec URL: s3://, hf://datasets/…
    kind = "web"                     # web | code | math | books | parallel: picks the policy
    [policy.web]                     # a stage that is not named here does not run
    robots = { snapshot = "robots.parquet" }
    pii = {}

Paths are relative to the recipe's folder; those given on the command line (`--set source.web.path=…`) to the folder
where the command runs. An unknown key, a wrong type, a missing path or an unreadable snapshot ends in one line that
names file, key and remedy, and nothing has been written by then.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from manifests.schema import FairtroveError

RECIPES = Path(__file__).parent / "recipes"
Kind = Literal["web", "code", "math", "books", "parallel"]
_PATH_KEYS = frozenset(
    {"path", "snapshot", "takedown", "model", "heads", "calibration"}
)  # `encoder` may be a Hub id: as written
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


class RecipeError(FairtroveError):
    """A recipe cannot be used as it is; the message names file, key and remedy."""


def _size(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("not a size; write a number of bytes, or like '500 MB'")
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", value)
    if not match or match[2].upper() not in _UNITS:
        raise ValueError(f"not a size: {value!r}; write a number of bytes, or like '500 MB'")
    return int(float(match[1]) * _UNITS[match[2].upper()])


Bytes = Annotated[int, BeforeValidator(_size), Field(gt=0)]


class Model(BaseModel):
    """Base of all recipe tables: unknown keys are refused, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RobotsPolicy(Model):
    """Retroactive consent; see `filters.robots.Robots` for what each value means."""

    snapshot: str
    agents: str | Annotated[list[str], Field(min_length=1)] = "paper"
    star: Literal["counts", "ignore"] = "counts"
    unknown: Literal["keep", "exclude"] = "keep"
    signals: list[str] | None = None
    takedown: Annotated[str, Field(min_length=1)] | None = None


class LicensePolicy(Model):
    """What may be trained on; see `filters.license.License`."""

    policy: Literal["opt-out", "open-only"] = "opt-out"
    allow: list[str] = []


class LanguagePolicy(Model):
    """Which languages, and whose label counts; see `filters.language.Language`."""

    model: str | None = None
    languages: list[str] | None = None
    given: Literal["replace", "trust", "check"] = "replace"
    thresholds: dict[str, float] | None = None
    undetermined: Literal["exclude", "keep"] = "exclude"


class ToxicityPolicy(Model):
    """Thresholds per language and the scorer; see `filters.toxicity.Toxicity`."""

    model: str | None = None
    encoder: str | None = None
    heads: str | None = None
    thresholds: dict[str, float] | None = None
    calibration: str | None = None
    clear: float | None = None
    precision: Literal["float32", "bfloat16", "int8"] = "float32"
    digest: str | None = None


class PIIPolicy(Model):
    """Which types are redacted and with which marker; see `filters.pii.PII`."""

    types: list[str] | None = None
    marker: Literal["typed", "hash", "remove"] = "typed"
    key: str | None = None
    spans: bool = False


class StockFilter(Model):
    """A stock datatrove step by import path, run between toxicity and PII with its exclusions in the ledger."""

    name: str
    args: dict[str, Any] = {}


class Policy(Model):
    """Stages for one kind of source. `false` switches a stage off where a source overrides its kind's policy."""

    robots: RobotsPolicy | Literal[False] | None = None
    license: LicensePolicy | Literal[False] | None = None
    language: LanguagePolicy | Literal[False] | None = None
    toxicity: ToxicityPolicy | Literal[False] | None = None
    filters: list[StockFilter] | None = None
    pii: PIIPolicy | Literal[False] | None = None

    def overridden_by(self, other: Policy | None) -> Policy:
        """This policy with the stages that `other` sets in their place."""
        return self if other is None else self.model_copy(update={name: getattr(other, name) for name in other.set})

    @property
    def stages(self) -> list[str]:
        """Names of the stages that run, in the order of the pass."""
        named = ("robots", "license", "language", "toxicity", "filters", "pii")
        return [name for name in named if getattr(self, name)]

    @property
    def set(self) -> set[str]:
        """Names of the stages that this table mentions."""
        return self.model_fields_set


class Columns(Model):
    """Names of the input's columns (or JSON keys). A column of a default name that the
    file lacks is empty, except `text`; one that the recipe names must be there."""

    text: str = "text"
    id: str = "id"
    url: str = "url"
    dump: str = "dump"
    date: str = "date"
    language: str = "language"
    language_script: str = "language_script"
    language_score: str = "language_score"
    license: str = "license"
    license_file: str = "license_file"


class Source(Model):
    """One input: where it lies, how to read it, of which kind it is."""

    path: (
        Annotated[str, Field(min_length=1)] | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    )
    kind: Kind
    reader: Literal["parquet", "jsonl", "warc"] | None = None
    revision: str | None = None
    columns: Columns = Columns()
    dump: str | None = None
    language: str | None = Field(default=None, pattern=r"^[a-z]{3}_[A-Z][a-z]{3}$")
    max_document_bytes: Bytes = 16_000_000
    policy: Policy | None = None

    @property
    def paths(self) -> list[str]:
        """Every path, with the Hub revision put where `hf://` wants it."""
        paths = [self.path] if isinstance(self.path, str) else self.path
        return [_at_revision(path, self.revision) for path in paths]


class Output(Model):
    """How shards are cut. Partition by language for sources whose files hold one language."""

    partition: Literal["none", "language"] = "none"
    shard_bytes: Bytes = 1_000_000_000
    row_group_rows: int = Field(default=10_000, ge=1, le=1_000_000, strict=True)


class Recipe(Model):
    """A checked recipe."""

    name: str = Field(min_length=1, max_length=200)
    description: str = ""
    source: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")], Source] = Field(min_length=1)
    policy: dict[Kind, Policy] = {}
    output: Output = Output()

    def policy_for(self, source: str) -> Policy:
        """The stages that a source meets: its kind's policy with its own overrides."""
        settings = self.source[source]
        return self.policy.get(settings.kind, Policy()).overridden_by(settings.policy)

    @property
    def digest(self) -> str:
        """SHA-256 of the recipe without its paths, so that a moved folder is the same recipe, and without secrets."""
        content = self.model_dump(mode="json")
        for source in content["source"].values():
            del source["path"]
        for policy in [*content["policy"].values(), *(source["policy"] or {} for source in content["source"].values())]:
            for stage, keys in _NOT_IN_DIGEST.items():
                for key in keys:
                    (policy.get(stage) or {}).pop(key, None)
        return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe: a path, or the name of one that ships (`sample`, `corpus`, `apertus`).

    Args:
        overrides: `dotted.key=value` strings; the value is TOML, or a plain string if it is not.

    Raises:
        RecipeError: one line with file, key and remedy.
    """
    file = find_recipe(path)
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise RecipeError(f"{file}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{file}: not valid TOML: {error}") from error
    except OSError as error:
        raise RecipeError(f"{file}: {error.strerror or error}") from error
    _anchor(content, file.resolve().parent)
    for override in overrides:
        _override(content, override)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{file}: {_explain(error)}") from error


def find_recipe(path: str | Path) -> Path:
    """A recipe's file: the path itself, or a recipe that ships with fairtrove by its name.

    Raises:
        RecipeError: neither exists.
    """
    file = Path(path)
    shipped = RECIPES / f"{file.name.removesuffix('.toml')}.toml"
    if file.is_file():
        return file
    if shipped.is_file() and (len(file.parts) == 1 or file.parent == Path("recipes")):
        return shipped
    names = sorted(recipe.stem for recipe in RECIPES.glob("*.toml"))
    raise RecipeError(f"{path}: no such recipe; give a TOML file, or one that ships: {', '.join(names)}")


def _at_revision(path: str, revision: str | None) -> str:
    match = re.match(r"(hf://(?:datasets/|spaces/)?[^/@]+/[^/@]+)(/[^@]*|$)\Z", path)
    return f"{match[1]}@{quote(revision, safe='')}{match[2]}" if match and revision else path


def _anchor(value: Any, folder: Path) -> None:
    """Make relative paths under the path keys absolute, in place."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in _PATH_KEYS and isinstance(item, str):
                value[key] = anchored(item, folder)
            elif key == "path" and isinstance(item, list):
                value[key] = [anchored(path, folder) if isinstance(path, str) else path for path in item]
            else:
                _anchor(item, folder)


def anchored(path: str, folder: Path) -> str:
    """`path` made absolute against `folder`; URLs, absolute paths and the empty string stay."""
    if not path or "://" in path or Path(path).is_absolute():
        return path
    return str(folder / path)


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise RecipeError(f"--set {override}: write it as key=value, like --set source.web.path=pages/*.parquet")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    if "*" in parts:
        position = parts.index("*")
        table = content
        for part in parts[:position]:
            table = table.get(part, {}) if isinstance(table, dict) else {}
        named = (
            [name for name in table if _has(table[name], parts[position + 1 : -1])] if isinstance(table, dict) else []
        )
        if not named:
            raise RecipeError(f"--set {override}: nothing in the recipe matches {key}")
        for name in named:
            _override(content, ".".join([*parts[:position], name, *parts[position + 1 :]]) + f"={text}")
        return
    table = content
    for part in parts[:-1]:
        if isinstance(table, dict) and parts[0] == "source" and part == parts[1] and len(parts) > 2:
            _expect_known_source(table, part, override)
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise RecipeError(f"--set {override}: {part} is a value, not a table")
    anchored_value = {parts[-1]: value}
    _anchor(anchored_value, Path.cwd())
    table.update(anchored_value)
    if value is False and len(parts) == 2 and parts[0] == "source":
        del table[parts[1]]  # a source switched off


def _has(table: Any, parts: Sequence[str]) -> bool:
    """Whether the tables along `parts` exist, so that a wildcard sets nothing where the stage does not run."""
    for part in parts:
        table = table.get(part) if isinstance(table, dict) else None
    return isinstance(table, dict)


def _expect_known_source(sources: Mapping[str, Any], name: str, override: str) -> None:
    nearest = difflib.get_close_matches(name, list(sources), n=1, cutoff=0.7)
    if name not in sources and nearest:
        raise RecipeError(f"--set {override}: no source `{name}`; did you mean `{nearest[0]}`?")


def _explain(error: ValidationError) -> str:
    errors = error.errors()
    first = next(
        (found for found in errors if found["type"] == "extra_forbidden"), errors[0]
    )  # a typo also hides a key
    location = [str(part) for part in first["loc"] if not _is_union_branch(part)]
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(location[-1], _keys_at(location[:-1]), n=1, cutoff=0.5)
        hint = f"did you mean `{nearest[0]}`?" if nearest else f"known here: {', '.join(_keys_at(location[:-1]))}"
        return f"{key}: unknown key; {hint}"
    if "[key]" in first["loc"]:
        known = list(get_args(Kind)) if location[:1] == ["policy"] else []
        nearest = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean `{nearest[0]}`?" if nearest else f"{first['msg'][:1].lower()}{first['msg'][1:]}"
        return f"{key}: not a name that may stand here; {hint}"
    if first["type"] == "missing":
        return f"{key}: missing; add it to the recipe or give --set {key}=…"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}: {message[:1].lower()}{message[1:]} (found {first['input']!r:.80})"


def _is_union_branch(part: str | int) -> bool:
    return isinstance(part, str) and (
        part.startswith(("literal[", "list[", "constrained-", "function-", "nullable[", "[key]")) or part in _BRANCHES
    )


def _keys_at(location: Sequence[str]) -> list[str]:
    """Keys that a table of the recipe may have, found by walking the models along `location`."""
    model: Any = Recipe
    names = iter(location)
    for name in names:
        if name == "source":
            model = Source if next(names, None) else Recipe
        elif name == "policy":
            model = Policy if model is Source or next(names, None) else Recipe
        else:
            model = _TABLES.get(name, model)
    return list(model.model_fields)


_TABLES = {
    "output": Output,
    "columns": Columns,
    "robots": RobotsPolicy,
    "license": LicensePolicy,
    "language": LanguagePolicy,
    "toxicity": ToxicityPolicy,
    "filters": StockFilter,
    "pii": PIIPolicy,
}
_BRANCHES = {"str", "int", "float", "bool"} | {model.__name__ for model in (Policy, Columns, Output, *_TABLES.values())}


_NOT_IN_DIGEST = {
    "robots": ("snapshot", "takedown"),
    "language": ("model",),
    "toxicity": ("model", "encoder", "heads", "calibration"),
    "pii": ("key",),
}
"""Paths, whose files pins and fingerprints cover by content, and the key, which a digest would let one guess."""
