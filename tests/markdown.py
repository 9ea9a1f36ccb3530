"""The code blocks in Markdown files: read them and run them as they stand there."""

import contextlib
import io
import re
from typing import NamedTuple


class Block(NamedTuple):
    """A fenced block; ``language`` is the text after its first fence, which may be empty."""

    language: str
    body: str


def blocks_of(text: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(*b) for b in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]


def run(source: str, name: str, namespace: dict) -> str:
    """Return the text that ``source`` prints; ``namespace`` is that of the blocks before it."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, name, "exec"), namespace)
    return printed.getvalue()
