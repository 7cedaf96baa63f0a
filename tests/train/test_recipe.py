"""Recipes: every key is checked, every refusal fits on a line and says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")

from train.errors import TrainError
from train.recipe import SHIPPED, load_recipe


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(TrainError) as caught:
        load_recipe(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.toml")))
def test_shipped_recipes_are_valid_by_name(name: str) -> None:
    recipe, path = load_recipe(name)
    assert path == SHIPPED / f"{name}.toml"
    assert recipe.training.steps > 0


def test_a_folder_of_that_name_does_not_hide_a_shipped_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_recipe("tiny")[1] == SHIPPED / "tiny.toml"


def test_an_unknown_key_is_refused_with_the_nearest_name(recipe_path: Path) -> None:
    assert "unknown key 'model.layer', did you mean 'layers'?" in refusal(recipe_path, "model.layer=3")
    assert "unknown key 'modle', did you mean 'model'?" in refusal(recipe_path, "modle.layers=3")
    assert "unknown key 'checkpoint.zzz', valid: every, keep" in refusal(recipe_path, "checkpoint.zzz=3")


@pytest.mark.parametrize(
    ("override", "explanation"),
    [
        ("training.steps=many", "training.steps: Input should be a valid integer"),
        ("training.steps=0", "training.steps: Input should be greater than or equal to 1, not 0"),
        ("goldfish.variant=golden", "'near-duplicate' or 'off', not 'golden'"),
        ("model.heads=5", "dim 32 must be an even multiple of heads 5"),
        ("model.kv_heads=3", "heads 4 must be a multiple of kv_heads 3"),
        ("training.micro_rows=3", "rows 4 must be a multiple of micro_rows 3"),
        ("schedule.warmup=35", "longer than training.steps 40"),
        ("training", "not of the form section.key=value"),
        ("steps=3", "not of the form section.key=value"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(recipe_path: Path, override: str, explanation: str) -> None:
    assert explanation in refusal(recipe_path, override)


def test_missing_keys_and_files_are_named(tmp_path: Path) -> None:
    assert "tiny" in refusal(tmp_path / "absent.toml")
    (tmp_path / "empty.toml").write_text("")
    assert "key 'data' is missing" in refusal(tmp_path / "empty.toml")
    (tmp_path / "broken.toml").write_text("[data\n")
    assert "not valid TOML" in refusal(tmp_path / "broken.toml")


def test_overrides_reach_the_recipe_and_its_digest(recipe_path: Path) -> None:
    plain, _ = load_recipe(recipe_path)
    changed, _ = load_recipe(recipe_path, ["training.steps=60", "optimizer.name=adamw", "goldfish.variant='off'"])
    assert (changed.training.steps, changed.optimizer.name, changed.goldfish.variant) == (60, "adamw", "off")
    assert plain.digest != changed.digest
    assert sorted(plain.differences(changed)) == ["goldfish.variant", "optimizer.name", "training.steps"]


def test_digest_ignores_comments_and_order(recipe_path: Path, tmp_path: Path) -> None:
    sections = recipe_path.read_text().split("\n[")
    other = tmp_path / "other.toml"
    other.write_text("# a comment\n" + "\n[".join([sections[0], *reversed(sections[1:])]))
    assert load_recipe(other)[0].digest == load_recipe(recipe_path)[0].digest
