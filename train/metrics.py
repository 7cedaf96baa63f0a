"""Metrics of each step: JSON Lines that a resumed run continues without a gap or a doubling, and TensorBoard.

`metrics.jsonl` is the record: no checkpoint is made before the lines of its steps are on the disk, and what a killed
run wrote after its last checkpoint is computed again. TensorBoard's files in `tensorboard/` are for looking at; there
the steps after the checkpoint are marked as superseded. They need `tensorboardX`, from the `train` extra.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from train.errors import TrainError
from train.publish import publish_text

_SHOWN = ("loss", "learning_rate", "gradient_norm", "tokens_per_second", "wait", "drop_rate", "mfu")


class MetricsFile:
    """The metrics of a run, from `step` on; a context manager.

    Args:
        folder: of the run.
        step: steps taken before; their lines must be there.

    Raises:
        TrainError: they are not.
    """

    def __init__(self, folder: Path, step: int):
        path = folder / "metrics.jsonl"
        lines = metric_lines(path, step)
        if len(lines) != step:
            raise TrainError(
                f"{path}: holds {len(lines)} steps, the checkpoint is of step {step}; put the file back, "
                "or --restart to begin anew"
            )
        publish_text(path, "".join(line + "\n" for line in lines))
        self._file = path.open("a", encoding="utf-8")
        self._board = _open_board(folder / "tensorboard", step)

    def write(self, metrics: dict[str, Any]) -> None:
        """Append a step's."""
        self._file.write(json.dumps(metrics) + "\n")
        self._file.flush()
        if self._board is not None:
            for name in _SHOWN:
                if name in metrics:
                    self._board.add_scalar(name, metrics[name], metrics["step"])

    def sync(self) -> None:
        """Put everything written on the disk."""
        os.fsync(self._file.fileno())

    def __enter__(self) -> MetricsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


def metric_lines(path: Path, step: int) -> list[str]:
    """Lines of steps 1 to `step`; what a killed run wrote after its last checkpoint is computed again."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] > step:
                break
        except (ValueError, KeyError, TypeError):
            break
        lines.append(line)
    return lines


def _open_board(folder: Path, step: int) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ModuleNotFoundError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
