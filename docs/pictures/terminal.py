"""Commands that are run in a terminal, and pictures of what it shows."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pyte
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

COLUMNS, LINES = 118, 200
FONT = "Menlo, Consolas, 'DejaVu Sans Mono', monospace"


class Ran(NamedTuple):
    """A command that has ended."""

    status: int
    seconds: float
    lines: list[str]
    """The lines on the screen, which are those that bars of progress left."""


def run(script: str, folder: Path, environment: Mapping[str, str]) -> Ran:
    """Run lines of a shell in a terminal of `COLUMNS` x `LINES` characters."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    began = time.monotonic()
    process = subprocess.Popen(
        ["bash", "-e", "-c", script],
        cwd=folder, env=dict(environment), stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    while True:
        try:
            content = os.read(ours, 2**16)
        except OSError:  # Linux says so when the other end is closed
            break
        if not content:
            break
        stream.feed(content)
    status = process.wait()
    os.close(ours)
    lines = [line.rstrip() for line in screen.display]
    while lines and not lines[-1]:
        lines.pop()
    return Ran(status, time.monotonic() - began, lines)


def draw(path: Path, commands: str, lines: list[str]) -> None:
    """Write an SVG of a terminal in which commands were typed. It loads no font from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115
    for line in commands.splitlines():
        console.print(Text("$ ", "bold green") + Text(line, "bold"))
    for line in lines:
        console.print(Text(line), soft_wrap=True)
    svg = console.export_svg(title="", theme=MONOKAI)
    while "@font-face" in svg:
        begin = svg.index("@font-face")
        svg = svg[:begin] + svg[svg.index("}", begin) + 1 :]
    path.write_text(svg.replace("Fira Code, monospace", FONT), encoding="utf-8")
