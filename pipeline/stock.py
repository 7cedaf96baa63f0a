"""Stock datatrove steps inside a fairtrove run: any filter or formatter, with its exclusions in the ledger.

The wrapper watches both sides of the step. A document that goes in and neither comes out nor is excluded is left open
in the ledger, which then refuses the task and names the row: so the known way of losing documents silently (a
`filter_batch` that answers one short) ends in an error instead of a smaller corpus.
"""

from __future__ import annotations

import importlib
import inspect
import time
from collections.abc import Iterable, Iterator
from hashlib import sha256
from importlib.metadata import version
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from filters.decision import Action, Decision, Evidence
from filters.stage import Recorder, batches
from manifests.schema import Reason
from pipeline.recipe import RecipeError, StockFilter


class _Excluded:
    """Stands in for datatrove's exclusion writer: takes the document's reason, writes nothing."""

    def __init__(self) -> None:
        self.documents: list[Document] = []

    def __enter__(self) -> _Excluded:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def write(self, document: Document, rank: int = 0) -> None:
        self.documents.append(document)


class Recorded(PipelineStep):
    """Runs a stock datatrove step and records what it did with each document.

    Args:
        step: the step; if it is a filter, its exclusion writer is replaced.
        args: what it was made with, for the fingerprint.
    """

    type = "🔍 - RECORDED"

    def __init__(self, step: PipelineStep, args: dict[str, Any] | None = None):
        super().__init__()
        self.step = step
        self.args = args or {}
        self.name = type(step).__name__
        self.stage = f"filter:{self.name}"
        self.recorder: Recorder | None = None
        self.cpu_seconds = 0.0
        self._excluded = _Excluded()
        if hasattr(step, "exclusion_writer"):
            step.exclusion_writer = self._excluded

    def fingerprint(self) -> dict[str, str]:
        """What its decisions depend on: class, arguments, source text of its module, datatrove's version."""
        module = inspect.getmodule(type(self.step))
        try:
            source = inspect.getsource(module) if module else ""
        except (OSError, TypeError):
            source = ""
        return {
            "class": f"{type(self.step).__module__}.{self.name}",
            "args": repr(sorted(self.args.items())),
            "code": sha256(source.encode()).hexdigest(),
            "datatrove": version("datatrove"),
        }

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Yield what the step yields, having recorded it."""
        for batch in batches(data, 1000, 8_000_000):
            started = time.process_time()
            passed = self._run_batch(batch, rank, world_size)
            self.cpu_seconds += time.process_time() - started
            yield from passed

    def _run_batch(self, batch: list[Document], rank: int, world_size: int) -> list[Document]:
        texts = {id(document): document.text for document in batch}
        passed = list(self.step.run(iter(batch), rank, world_size))
        decided = [(document, self._kept(document, texts.get(id(document)))) for document in passed]
        decided += [(document, self._refused(document)) for document in self._excluded.documents]
        self._excluded.documents.clear()
        if self.recorder:
            self.recorder(self.stage, [document for document, _ in decided], [decision for _, decision in decided])
        return passed

    def _kept(self, document: Document, text: str | None) -> Decision:
        if document.text is text or document.text == text:
            return _PASSED
        return Decision(Action.ALTER, Reason.ALTERED, self._evidence(None))

    def _refused(self, document: Document) -> Decision:
        reason = document.metadata.pop("filter_reason", None)
        return Decision(Action.EXCLUDE, Reason.FILTERED, self._evidence(reason))

    def _evidence(self, reason: str | None) -> Evidence:
        return Evidence("datatrove", rule=reason, detector=f"{self.name}@datatrove-{version('datatrove')}")


_PASSED = Decision(Action.KEEP, Reason.PASSED)


def load_stock(setting: StockFilter, key: str = "filters") -> Recorded:
    """The step that a recipe names.

    Args:
        key: where the recipe names it, for error messages.

    Raises:
        RecipeError: it cannot be imported, is no datatrove step, or refuses its arguments.
    """
    module_name, _, class_name = setting.name.rpartition(".")
    try:
        step_class = getattr(importlib.import_module(module_name or "datatrove.pipeline.filters"), class_name)
    except (ImportError, AttributeError) as error:
        raise RecipeError(f"{key}.name: {setting.name}: {error}; give the full import path of the class") from error
    if not (isinstance(step_class, type) and issubclass(step_class, PipelineStep)):
        raise RecipeError(f"{key}.name: {setting.name}: not a datatrove PipelineStep")
    try:
        return Recorded(step_class(**setting.args), setting.args)
    except Exception as error:  # a constructor of somebody else's class may raise anything
        raise RecipeError(f"{key}.args: {class_name}: {error}") from error
