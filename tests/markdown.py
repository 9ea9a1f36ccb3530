"""The code in Markdown files, run as it stands there."""

import contextlib
import io
import re
from typing import NamedTuple


class Block(NamedTuple):
    """A fenced block: ``language`` is what follows its first fence, maybe nothing."""

    language: str
    body: str


def blocks_of(text: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(*b) for b in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]


def run(source: str, name: str, namespace: dict) -> str:
    """What ``source`` prints; ``namespace`` is that of the blocks before it."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, name, "exec"), namespace)
    return printed.getvalue()
