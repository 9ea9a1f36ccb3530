"""Command lines for the user to type."""

import contextlib
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

PROGRAM = "python -m train" if __name__.startswith("train.") else "gconv-train"
"""The program as users type it: in a clone, or installed from a wheel."""


def command(*arguments: str | Path) -> str:
    """The line that runs this program with other arguments, for a shell."""
    return " ".join([*_program(), *map(typed, arguments)])


def typed(argument: str | Path) -> str:
    """An argument as it has to be typed in a shell; a path does not become an option."""
    if isinstance(argument, Path) and str(argument).startswith("-"):
        argument = f"./{argument}"
    return shlex.quote(str(argument))


@contextlib.contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Say which run folder goes on: an interruption inside carries ``folder`` as its argument, that
    of the outermost one."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(folder) from None


def _program() -> list[str]:
    """The words before the arguments, as they were typed."""
    script = Path(sys.argv[0])
    # In a test, a notebook, or the script that pip writes.
    if (script.parent.name, script.name) != ("train", "__main__.py"):
        return [PROGRAM]
    return [shlex.quote(word) for word in sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]]
