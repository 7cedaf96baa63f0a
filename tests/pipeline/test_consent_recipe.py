"""Signals and takedown requests in a recipe: what it may say, what it is told when it is wrong, and what re-runs."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filters.robots import DEFAULT_SIGNALS, Robots
from pipeline.recipe import Recipe, RecipeError, load_recipe
from pipeline.stages import build_stages


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pages.jsonl").write_text('{"text": "x"}\n')
    pq.write_table(pa.table({"host": ["a.example"], "status": [404], "body": [b""]}), tmp_path / "robots.parquet")
    (tmp_path / "takedown.txt").write_text("a.example\n")
    return tmp_path


def recipe(folder: Path, settings: str = "") -> Recipe:
    (folder / "recipe.toml").write_text(
        'name = "x"\n[source.web]\npath = "pages.jsonl"\nkind = "web"\n'
        f'[policy.web]\nrobots = {{ snapshot = "robots.parquet"{settings} }}\n'
    )
    return load_recipe(folder / "recipe.toml")


def robots_stage(loaded: Recipe) -> Robots:
    (stage,) = build_stages(loaded.source["web"], loaded.policy_for("web"))
    assert isinstance(stage, Robots)
    return stage


def test_a_recipe_names_signals_and_a_takedown_list_beside_it(folder: Path) -> None:
    assert robots_stage(recipe(folder)).signals == DEFAULT_SIGNALS
    assert robots_stage(recipe(folder, ", signals = []")).signals == ()
    stage = robots_stage(recipe(folder, ', signals = ["noai", "rsl"], takedown = "takedown.txt"'))
    assert stage.signals == ("noai", "rsl")
    assert stage.takedown == str(folder / "takedown.txt")
    assert set(stage.pins()) == {"snapshot_sha256", "takedown_sha256"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (', signals = ["noia"]', "policy.web.robots: signals: no signal `noia`; did you mean `noai`?"),
        (', signals = ["content_usage"]', "no signal `content_usage`; did you mean `content-usage`?"),
        (', signals = ["smoke"]', "no signal `smoke`; there are: content-signal, content-usage, tdmrep"),
        (', signals = "noai"', "policy.web.robots.signals: input should be a valid list"),
        (', signal = ["noai"]', "unknown key; did you mean `signals`?"),
        (', takedown = "none.txt"', "none.txt: No such file or directory; give the path of a text file"),
        (', takedown = ""', "policy.web.robots.takedown: string should have at least 1 character"),
    ],
)
def test_a_wrong_setting_is_one_line_with_key_and_remedy(folder: Path, settings: str, message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        robots_stage(recipe(folder, settings))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_wrong_line_of_the_list_stops_the_run_before_any_work(folder: Path) -> None:
    (folder / "takedown.txt").write_text("a.example\n\nann@example.org\n")
    with pytest.raises(RecipeError, match=r"takedown\.txt, line 3: 'ann@example\.org' is neither a host nor a URL"):
        robots_stage(recipe(folder, ', takedown = "takedown.txt"'))


def test_signals_are_part_of_the_recipe_and_the_place_of_the_list_is_not(folder: Path) -> None:
    plain = recipe(folder).digest
    assert recipe(folder, ', takedown = "takedown.txt"').digest == plain
    assert recipe(folder, ', signals = ["noai"]').digest != plain
