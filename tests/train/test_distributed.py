"""Workers: two gloo processes compute what one does, whole or sharded, and a run moves between them."""

# ruff: noqa: E402 - without torch nothing below the skip must be imported
from __future__ import annotations

import io
import multiprocessing
import os
import socket
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")
pytest.importorskip("tokenizers", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")

from rich.console import Console

from tests.train.conftest import SMALL_RECIPE
from train.checkpoint import latest_checkpoint
from train.distributed import World
from train.errors import TrainError
from train.recipe import load_recipe
from train.run import _check_shares
from train.summary import Summary
from train.trainer import train

STEPS = ["training.steps=12", "schedule.cooldown=2", "checkpoint.every=6"]


def quietly(*arguments, **options) -> Summary:
    return train(*arguments, **options, console=Console(file=io.StringIO()))


def work(rank: int, ranks: int, port: int, arguments: tuple, answers) -> None:
    """A worker as torchrun starts it."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    try:
        answers.put((rank, quietly(*arguments)))
    except TrainError as error:
        answers.put((rank, str(error)))


def on_two(*arguments) -> list[Summary | str]:
    """What each of two workers answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["train.trainer", "torch._dynamo", "torch.distributed.tensor"])
    answers = context.Queue()
    workers = [context.Process(target=work, args=(rank, 2, port, arguments, answers)) for rank in range(2)]
    for worker in workers:
        worker.start()
    found = dict(answers.get(timeout=240) for _ in workers)
    for worker in workers:
        worker.join(60)
    return [found[0], found[1]]


@pytest.fixture(scope="module")
def small_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.toml"
    path.write_text(SMALL_RECIPE)
    return path


@pytest.fixture(scope="module")
def alone(small_recipe: Path, corpus_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    out = tmp_path_factory.mktemp("alone")
    return out, quietly(small_recipe, corpus_path, out, STEPS)


@pytest.mark.parametrize(
    "overrides",
    [["training.parallel=ddp", "training.micro_rows=1"], ["training.parallel=fsdp", "training.recompute=true"]],
    ids=["ddp", "fsdp"],
)
def test_two_workers_compute_what_one_does(
    alone: tuple[Path, Summary], small_recipe: Path, corpus_path: Path, tmp_path: Path, overrides: list[str]
) -> None:
    _, one = alone
    first, second = on_two(small_recipe, corpus_path, tmp_path, [*STEPS, *overrides])
    assert isinstance(first, Summary), first
    assert isinstance(second, Summary), second
    assert first.losses == pytest.approx(one.losses, abs=1e-5)
    assert first.losses == second.losses
    assert (first.supervised, first.dropped, first.parameters) == (one.supervised, one.dropped, one.parameters)
    assert first.sample == second.sample == one.sample
    assert not list(tmp_path.rglob(".tmp-*"))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_a_run_moves_from_two_workers_to_one(
    alone: tuple[Path, Summary], small_recipe: Path, corpus_path: Path, tmp_path: Path, mode: str
) -> None:
    _, whole = alone
    half = ["training.steps=6", "schedule.cooldown=0", "checkpoint.every=6", f"training.parallel={mode}"]
    first, _ = on_two(small_recipe, corpus_path, tmp_path, half)
    assert isinstance(first, Summary), first
    checkpoint = latest_checkpoint(tmp_path / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.sharded == (mode == "fsdp")
    assert checkpoint.provenance.ranks == 2
    rest = quietly(small_recipe, corpus_path, tmp_path, [*STEPS, f"training.parallel={mode}"])
    assert rest.resumed_from == 6
    assert rest.losses == pytest.approx(whole.losses, abs=1e-5)


@pytest.mark.slow
def test_a_run_moves_from_one_worker_to_two(
    alone: tuple[Path, Summary], small_recipe: Path, corpus_path: Path, tmp_path: Path
) -> None:
    half = ["training.steps=6", "schedule.cooldown=0", "checkpoint.every=6", "training.parallel=fsdp"]
    quietly(small_recipe, corpus_path, tmp_path, half)
    first, _ = on_two(small_recipe, corpus_path, tmp_path, [*STEPS, "training.parallel=fsdp"])
    assert isinstance(first, Summary), first
    assert first.resumed_from == 6
    assert first.losses == pytest.approx(alone[1].losses, abs=1e-5)


def test_all_workers_hear_the_one_error(small_recipe: Path, tmp_path: Path) -> None:
    first, second = on_two(small_recipe, tmp_path / "nowhere", tmp_path / "out", STEPS)
    assert isinstance(first, str)
    assert first == second
    assert "no published corpus here" in first


def test_a_batch_that_cannot_be_shared_is_refused(small_recipe: Path) -> None:
    pair = World(0, 2, torch.device("cpu"))
    for override, message in (("rows=5", "rows 5 cannot be shared by 2"), ("micro_rows=4", "micro_rows 4 does not")):
        with pytest.raises(TrainError, match=message):
            _check_shares(load_recipe(small_recipe, [f"training.{override}"])[0], pair)
