"""The code in Markdown files, run as it stands there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple


class Block(NamedTuple):
    """A fenced block: ``language`` is what follows its first fence, maybe nothing."""

    language: str
    body: str


def blocks_of(text: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(*b) for b in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]


def run_alone(source: str, folder: Path | None = None, *, text: str = "") -> str:
    """What ``source`` prints in a Python process of its own, started in ``folder``."""
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", source],
        env=os.environ | {"PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def run_one_after_the_other(sources: list[str], folder: Path) -> list[str]:
    """What each of the sources prints, in one Python process for them all."""
    return json.loads(run_alone(_DRIVER, folder, text=json.dumps(sources)))


_DRIVER = """
import contextlib, io, json, sys
namespace = {"__name__": "page"}
printed = []
for source in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as text:
        exec(compile(source, "page", "exec"), namespace)
    printed.append(text.getvalue())
json.dump(printed, sys.stdout)
"""


def anchors_of(text: str) -> set[str]:
    """The anchors that headings have on GitHub and in the site."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in headings}
