"""What the commands share at the terminal: two consoles, and errors as one line with an exit code."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import click
import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from manifests.schema import FairtroveError

console = Console()
stderr = Console(stderr=True)


class UsageError(FairtroveError):
    """What the user gave cannot be used; nothing was done. The message names it and the remedy."""


def exits(command: Callable[..., None]) -> Callable[..., None]:
    """Errors end in one line on stderr: exit code 2 for what the user gave, 1 for what went wrong on the way."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except FairtroveError as error:
            fail(str(error), 2 if isinstance(error, UsageError) or _is_recipe_error(error) else 1)
        except KeyboardInterrupt:
            fail("interrupted; what was finished is kept, the same command goes on from there", 130)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except (typer.Exit, typer.Abort, click.ClickException):
            raise
        except Exception as error:
            if os.environ.get("FAIRTROVE_DEBUG") == "1":
                raise
            fail(_unforeseen(error), 1)

    return run


def _is_recipe_error(error: FairtroveError) -> bool:
    """Of a recipe, whose module takes longer to import than a question takes: unless it is loaded, no."""
    recipe = sys.modules.get("pipeline.recipe")
    return recipe is not None and isinstance(error, recipe.RecipeError)


def _unforeseen(error: Exception) -> str:
    """One line for what no check foresaw: what, on which file or at which place, and how to see more."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    if isinstance(error, OSError):
        said = f"{error.filename or error}: {error.strerror or type(error).__name__}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{type(error).__name__} at {os.path.basename(frame.filename)}:{frame.lineno}"
    return f"{said} ({place}; `fairtrove audit` tells whether a corpus is damaged, FAIRTROVE_DEBUG=1 shows more)"


def fail(message: str, code: int) -> NoReturn:
    """Say what is wrong on stderr, and exit."""
    stderr.print(Text.assemble(("error:", "bold red"), " ", message), soft_wrap=True, highlight=False)
    raise typer.Exit(code)


def escaped(message: str) -> str:
    """`message` with nothing in it that rich would take for markup."""
    return escape(message)
