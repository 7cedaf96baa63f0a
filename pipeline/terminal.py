"""What the commands share at the terminal: two consoles, and errors as one line with an exit code."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import typer
from rich.console import Console

from manifests.schema import FairtroveError

console = Console()
stderr = Console(stderr=True)


class UsageError(FairtroveError):
    """What the user gave cannot be used; nothing was done. The message names it and the remedy."""


def exits(command: Callable[..., None]) -> Callable[..., None]:
    """Errors end in one line on stderr: exit code 2 for what the user gave, 1 for what went wrong on the way."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        from pipeline.recipe import RecipeError

        try:
            command(*args, **kwargs)
        except (RecipeError, UsageError) as error:
            fail(str(error), 2)
        except FairtroveError as error:
            fail(str(error), 1)
        except KeyboardInterrupt:
            fail("interrupted; what was finished is kept, the same command goes on from there", 130)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None

    return run


def fail(message: str, code: int) -> NoReturn:
    """Say what is wrong on stderr, and exit."""
    stderr.print(f"[bold red]error:[/] {escaped(message)}", soft_wrap=True, highlight=False)
    raise typer.Exit(code)


def escaped(message: str) -> str:
    """`message` with nothing in it that rich would take for markup."""
    return message.replace("[", "\\[")
