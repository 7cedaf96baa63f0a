"""The trainer's one error: what is wrong, where, and what to do, on one line; the command line then exits with 2."""

from __future__ import annotations

from manifests.schema import FairtroveError


class TrainError(FairtroveError):
    """A recipe, tokenizer, cache or checkpoint that training cannot go on with."""
