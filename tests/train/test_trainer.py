"""Runs: the loss falls, a killed run goes on bit for bit, and only what the manifest vouches for is trained on."""

# ruff: noqa: E402 - without torch nothing below the skip must be imported
from __future__ import annotations

import io
import json
import math
import multiprocessing
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")
pytest.importorskip("tokenizers", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")

from rich.console import Console
from typer.testing import CliRunner

from manifests.corpus import CorpusError, open_corpus
from manifests.schema import FairtroveError
from tests.train.conftest import SMALL_RECIPE, invented_documents
from train import run, trainer
from train.checkpoint import latest_checkpoint, read_checkpoint
from train.errors import TrainError
from train.export import load_transformers
from train.recipe import load_recipe
from train.summary import Summary, loss_curve, print_summary
from train.trainer import train


def quietly(*arguments, **options) -> Summary:
    return train(*arguments, **options, console=Console(file=io.StringIO()))


def metrics(out: Path) -> list[dict[str, Any]]:
    """Lines of the metrics without what the clock decides."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    clocked = {"tokens_per_second", "wait"}
    return [{key: value for key, value in line.items() if key not in clocked} for line in lines]


def weights(out: Path) -> dict[str, torch.Tensor]:
    checkpoint = latest_checkpoint(out / "checkpoints")
    assert checkpoint is not None
    tensors = checkpoint.load_state()["tensors"]
    return {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}


def same_weights(a: Path, b: Path) -> bool:
    ours, theirs = weights(a), weights(b)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module")
def small_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.toml"
    path.write_text(SMALL_RECIPE)
    return path


@pytest.fixture(scope="module")
def finished(small_recipe: Path, corpus_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    """An undisturbed run."""
    out = tmp_path_factory.mktemp("finished")
    return out, quietly(small_recipe, corpus_path, out)


def test_the_loss_falls(finished: tuple[Path, Summary]) -> None:
    _, summary = finished
    assert summary.steps == 40
    assert summary.first_loss == pytest.approx(math.log(300), abs=0.2)  # as good as guessing among 300 tokens
    assert summary.last_loss < summary.first_loss - 0.7
    assert summary.losses[0] == summary.first_loss


def test_drop_rate_is_reported(finished: tuple[Path, Summary]) -> None:
    out, summary = finished
    lines = metrics(out)
    assert summary.dropped == sum(line["dropped"] for line in lines)
    assert summary.supervised == sum(line["supervised"] for line in lines)
    assert 0.15 < summary.drop_rate < 0.35


def test_checkpoint_says_what_it_was_trained_on(finished, small_recipe: Path, corpus_path: Path) -> None:
    out, _ = finished
    described = json.loads((out / "checkpoints" / "step-00000040" / "checkpoint.json").read_text())
    recipe, _ = load_recipe(small_recipe)
    assert described["corpus_root"] == open_corpus(corpus_path).root
    assert described["recipe_digest"] == recipe.digest
    assert described["recipe"]["goldfish"] == {"variant": "default", "k": 4, "h": 5}
    assert described["position"] == 40 * 4
    assert [path.name for path in sorted((out / "checkpoints").iterdir())] == ["step-00000035", "step-00000040"]


def test_export_gives_the_same_logits_in_transformers(finished: tuple[Path, Summary]) -> None:
    transformers = pytest.importorskip("transformers", reason="parity needs transformers, in the `train` extra")
    out, summary = finished
    theirs = transformers.ApertusForCausalLM.from_pretrained(summary.export)
    tokenizer = transformers.AutoTokenizer.from_pretrained(summary.export)
    ours = load_transformers(Path(summary.export))
    ids = torch.tensor([[1, *tokenizer("fair trove wörter", add_special_tokens=False)["input_ids"]]])
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 3)
    assert theirs.config.pad_token_id == 3
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=0, atol=1e-4)
    assert all(torch.equal(value, weights(out)[name]) for name, value in ours.state_dict().items())


def test_a_finished_run_started_again_takes_no_step(finished, small_recipe: Path, corpus_path: Path) -> None:
    out, before = finished
    state = (out / "checkpoints" / "step-00000040" / "state.pt").stat().st_mtime_ns
    again = quietly(small_recipe, corpus_path, out)
    assert (again.resumed_from, again.tokens_per_second) == (40, None)
    assert (again.losses, again.sample) == (before.losses, before.sample)
    assert (out / "checkpoints" / "step-00000040" / "state.pt").stat().st_mtime_ns == state


def test_killed_at_random_moments_a_run_ends_with_the_same_bits(
    small_recipe: Path, corpus_path: Path, tmp_path: Path
) -> None:
    """SIGKILL at random moments, checkpoints every 2 steps so that many hit the writing of one."""
    overrides = ["training.steps=60", "checkpoint.every=2"]
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    quietly(small_recipe, corpus_path, undisturbed, overrides)
    context = multiprocessing.get_context("forkserver")
    # what the first optimizer step imports is preloaded too, else every start pays seconds for it
    context.set_forkserver_preload(["train.trainer", "torch._dynamo", "torch.distributed.tensor"])
    draw = random.Random(0)
    kills = 0
    for target in (1, 9, 17, 28, 40):
        process = context.Process(target=train, args=(small_recipe, corpus_path, killed, overrides))
        process.start()
        while process.is_alive() and _steps_on_disk(killed) < target:
            time.sleep(0.001)
        time.sleep(draw.random() * 0.02)
        kills += process.is_alive()
        process.kill()
        process.join()
    assert kills >= 3
    summary = quietly(small_recipe, corpus_path, killed, overrides)
    assert summary.resumed_from > 0
    assert metrics(killed) == metrics(undisturbed)
    assert same_weights(killed, undisturbed)
    assert not list(killed.rglob(".tmp-*"))


def _steps_on_disk(out: Path) -> int:
    file = out / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def test_micro_batches_add_up_to_the_same_step(finished, small_recipe: Path, corpus_path: Path, tmp_path: Path) -> None:
    _, whole = finished
    parts = quietly(small_recipe, corpus_path, tmp_path, ["training.micro_rows=1"])
    assert parts.losses == pytest.approx(whole.losses, abs=2e-3)
    assert parts.losses[0] == pytest.approx(whole.losses[0], abs=1e-5)
    assert (parts.supervised, parts.dropped) == (whole.supervised, whole.dropped)


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer.name=adamw", "goldfish.variant=reference"],
        ["training.precision=bfloat16", "goldfish.variant=off", "data.validation=0.2"],
        ["goldfish.variant=near-duplicate", "training.recompute=true"],
    ],
    ids=["adamw, reference mask", "bfloat16, no mask, held-out documents", "near-duplicate mask, recomputed"],
)
def test_other_settings_learn_too(small_recipe: Path, corpus_path: Path, tmp_path: Path, overrides: list[str]) -> None:
    summary = quietly(small_recipe, corpus_path, tmp_path, overrides)
    assert summary.last_loss < summary.first_loss - 0.7
    if "goldfish.variant=off" in overrides:
        assert summary.dropped == 0
        assert summary.validation_loss is not None
        assert summary.validation_loss < summary.first_loss - 0.7


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_steps_learn_the_same(small_recipe: Path, corpus_path: Path, tmp_path: Path) -> None:
    eager = quietly(small_recipe, corpus_path, tmp_path / "eager", ["training.steps=15"])
    compiled = quietly(small_recipe, corpus_path, tmp_path / "compiled", ["training.steps=15", "training.compile=true"])
    assert compiled.losses == pytest.approx(eager.losses, abs=1e-4)


def test_a_run_can_be_prolonged_from_its_checkpoint(small_recipe: Path, corpus_path: Path, tmp_path: Path) -> None:
    quietly(small_recipe, corpus_path, tmp_path, ["training.steps=15", "schedule.cooldown=0"])
    longer = quietly(small_recipe, corpus_path, tmp_path, ["training.steps=25"])
    assert (longer.resumed_from, longer.steps, len(longer.losses)) == (15, 25, 25)


def test_another_recipe_does_not_take_up_a_run(small_recipe: Path, corpus_path: Path, tmp_path: Path) -> None:
    quietly(small_recipe, corpus_path, tmp_path, ["training.steps=15"])
    with pytest.raises(TrainError, match=r"recipe has changed since \(goldfish\.k, model\.ffn\); use another --out"):
        quietly(small_recipe, corpus_path, tmp_path, ["goldfish.k=3", "model.ffn=32"])
    anew = quietly(small_recipe, corpus_path, tmp_path, ["training.steps=15", "goldfish.k=3"], restart=True)
    assert (anew.resumed_from, len(anew.losses)) == (0, 15)


def test_a_run_is_not_taken_up_on_a_corpus_that_changed(
    small_recipe: Path, make_corpus: Callable[..., Path], tmp_path: Path
) -> None:
    documents = invented_documents(40)
    path = make_corpus(documents)
    quietly(small_recipe, path, tmp_path / "out", ["training.steps=15"])
    make_corpus(documents[1:], version=2)
    with pytest.raises(TrainError, match="documents may be withdrawn"):
        quietly(small_recipe, path, tmp_path / "out", ["training.steps=15"])


def test_a_damaged_checkpoint_is_refused(small_recipe: Path, corpus_path: Path, tmp_path: Path) -> None:
    summary = quietly(small_recipe, corpus_path, tmp_path, ["training.steps=15"])
    state = Path(summary.checkpoint) / "state.pt"
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    with pytest.raises(TrainError, match=r"not what checkpoint\.json describes; delete"):
        quietly(small_recipe, corpus_path, tmp_path, ["training.steps=15"])


def test_a_run_without_its_metrics_is_refused(small_recipe: Path, corpus_path: Path, tmp_path: Path) -> None:
    quietly(small_recipe, corpus_path, tmp_path, ["training.steps=15"])
    (tmp_path / "metrics.jsonl").unlink()
    with pytest.raises(TrainError, match="holds 0 steps, the checkpoint is of step 15"):
        quietly(small_recipe, corpus_path, tmp_path, ["training.steps=15"])


def test_two_runs_cannot_share_a_folder(small_recipe: Path, corpus_path: Path, tmp_path: Path) -> None:
    with trainer._only_run_in(tmp_path), pytest.raises(TrainError, match="another run is using this folder"):
        quietly(small_recipe, corpus_path, tmp_path, ["training.steps=15"])
    assert quietly(small_recipe, corpus_path, tmp_path, ["training.steps=15"]).steps == 15


def test_a_tampered_or_empty_corpus_is_not_trained_on(
    small_recipe: Path, make_corpus: Callable[..., Path], tmp_path: Path
) -> None:
    path = make_corpus(invented_documents(20))
    shard = open_corpus(path).shards[0].path
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(CorpusError, match=shard.name):
        quietly(small_recipe, path, tmp_path / "out")
    with pytest.raises(TrainError, match="holds no documents"):
        quietly(small_recipe, make_corpus([], name="empty"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_no_number_stops_the_run_and_names_documents(
    small_recipe: Path, corpus_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = run.Run.loss_sum
    calls = []

    def broken(self, *batch):
        calls.append(1)
        return computed(self, *batch) * (math.nan if len(calls) == 8 else 1.0)

    monkeypatch.setattr(run.Run, "loss_sum", broken)
    with pytest.raises(TrainError, match=r"step 8: loss nan.*documents in this batch: doc-"):
        quietly(small_recipe, corpus_path, tmp_path)
    assert len(metrics(tmp_path)) == 7


def test_loss_curve_falls_from_top_left_to_bottom_right() -> None:
    lines = loss_curve([8 - 0.05 * step for step in range(100)], width=10, height=4)
    assert lines[0].startswith("  ")
    assert [line[8:].rstrip() for line in lines] == sorted((line[8:].rstrip() for line in lines), key=len)
    assert lines[-1][-1] == "▁"
    assert loss_curve([]) == []
    assert len(loss_curve([3.0, 3.0])) == 8


def test_summary_shows_the_curve_the_drop_rate_and_whole_paths(finished, small_recipe: Path) -> None:
    _, summary = finished
    written = io.StringIO()
    print_summary(summary, load_recipe(small_recipe)[0], Console(file=written, width=80))
    text = written.getvalue()
    assert "█" in text
    assert f"{summary.first_loss:.3f}" in text
    assert f"{summary.last_loss:.3f}" in text
    drop_rate = f"{summary.drop_rate:.2%} of targets left out (default, k=4, h=5: 25.00% nominal)"
    assert drop_rate in " ".join(text.split())
    unwrapped = "".join(line.strip() for line in text.splitlines())
    for whole in (summary.corpus_root, summary.checkpoint, summary.export, summary.metrics):
        assert whole in unwrapped


def test_the_report_opens_anywhere_and_tensorboard_has_every_step(finished: tuple[Path, Summary]) -> None:
    out, summary = finished
    page = (out / "report.html").read_text()
    assert "<polyline" in page
    assert summary.corpus_root in page
    assert "src=" not in page
    assert "href=" not in page
    pytest.importorskip("tensorboardX", reason="TensorBoard files need tensorboardX, in the `train` extra")
    from tensorboardX.proto import event_pb2

    steps = []
    for file in (out / "tensorboard").iterdir():  # one per start of the run
        content = file.read_bytes()
        while content:  # a record is its length, a checksum of that, itself, a checksum
            size = int.from_bytes(content[:8], "little")
            event = event_pb2.Event.FromString(content[12 : 12 + size])
            steps += [event.step for value in event.summary.value if value.tag == "loss"]
            content = content[16 + size :]
    assert sorted(steps) == list(range(1, 41))


def test_the_checkpoint_before_is_whole_while_the_next_is_written(finished: tuple[Path, Summary]) -> None:
    out, _ = finished
    for folder in (out / "checkpoints").iterdir():
        read_checkpoint(folder).verify()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent", "--corpus", "CORPUS", "--out", "OUT"], "error: recipe absent: No such file"),
        (["RECIPE", "--corpus", "nowhere", "--out", "OUT"], "nowhere: no published corpus here"),
        (["RECIPE", "--corpus", "CORPUS", "--out", "OUT", "--set", "model.layer=1"], "did you mean 'layers'?"),
        (["RECIPE", "--corpus", "CORPUS", "--out", "OUT", "--set", "tokenizer.path=no.json"], "tokenizer.json"),
    ],
)
def test_command_line_errors_are_one_line_and_exit_with_2(
    recipe_path: Path, corpus_path: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    places = {"RECIPE": str(recipe_path), "CORPUS": str(corpus_path), "OUT": str(tmp_path / "out")}
    result = CliRunner().invoke(trainer.app, [places.get(argument, argument) for argument in arguments])
    assert result.exit_code == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert result.stderr.splitlines()[-1] == errors[0]
    assert message in errors[0]
    assert result.stdout == ""


def test_the_module_runs_from_the_command_line(recipe_path: Path, corpus_path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "train.trainer", str(recipe_path), "--corpus", str(corpus_path)]
    command += ["--out", str(tmp_path / "out"), "--set", "training.steps=13"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "step     13 of 13" in result.stderr
    assert "the model writes" in result.stdout
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["steps"] == 13


def test_every_refusal_is_of_the_one_error_tree() -> None:
    assert issubclass(TrainError, FairtroveError)
