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
    """Return the fenced blocks of a page, in order."""
    return [Block(*b) for b in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]


def run_alone(source: str, folder: Path | None = None, *, text: str = "") -> str:
    """Return what ``source`` prints in a Python process of its own, started in ``folder``."""
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


def run_one_after_the_other(
    sources: list[str], folder: Path, *, share_names: bool = False
) -> list[str]:
    """Return what each of the sources prints, in one Python process for them all. None sees the
    names of another unless they ``share_names``."""
    given = {"sources": sources, "share_names": share_names}
    return json.loads(run_alone(_DRIVER, folder, text=json.dumps(given)))


_DRIVER = """
import contextlib, io, json, sys
given = json.load(sys.stdin)
namespace, printed = {"__name__": "page"}, []
for source in given["sources"]:
    if not given["share_names"]:
        namespace = {"__name__": "page"}
    with contextlib.redirect_stdout(io.StringIO()) as text:
        exec(compile(source, "page", "exec"), namespace)
    printed.append(text.getvalue())
json.dump(printed, sys.stdout)
"""


def anchors_of(text: str) -> set[str]:
    """Return the anchors that headings have on GitHub and in the site."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in headings}
