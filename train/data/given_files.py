"""The image files that a user names on a command line: files, folders, and lists of them."""

import collections
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..names import join_names, pluralize
from .scan import SUFFIXES, image_files

LISTED = "-"
"""The name that stands for a list of paths on standard input."""
_SHOWN = 10


def given_files(given: Sequence[Path], log: Callable[[str], None] = print) -> list[Path]:
    """Return the image files that paths stand for, in their order.

    A folder stands for all image files below it, sorted, without those that are hidden; what else
    is in it is counted in a line of the ``log``. ``-`` stands for the paths that standard input
    lists, one a line. A file is taken as it is, whatever its name: reading it will tell.

    ValueError if nothing is named, or a folder has no image files.
    """
    if not given:
        raise ValueError("`images` must name at least one image file, or a folder of them")
    files: list[Path] = []
    for path in given:
        for named in _listed() if str(path) == LISTED else [path]:
            files += _in_folder(named, log) if named.is_dir() else [named]
    return files


def _listed() -> list[Path]:
    """Return the paths on standard input, whose names may hold bytes that are no text."""
    lines = (line.rstrip(b"\r\n") for line in sys.stdin.buffer)
    paths = [Path(os.fsdecode(line)) for line in lines if line.strip()]
    if not paths:
        raise ValueError(f"`images` {LISTED} takes paths from standard input, which lists none")
    return paths


def _in_folder(folder: Path, log: Callable[[str], None]) -> list[Path]:
    ignored: collections.Counter[str] = collections.Counter()
    files = [Path(name) for name in image_files(folder, ignored, set())]
    kinds = [f"{count:,} {kind}" for kind, count in ignored.most_common(_SHOWN)]
    if not files:
        others = f"; it has {', '.join(kinds)}" if kinds else ""
        raise ValueError(f"`images` {folder} has no image files ({', '.join(SUFFIXES)}){others}")
    if ignored:
        log(f"ignored {pluralize(ignored.total(), 'file')} in {folder}: {join_names(kinds)}")
    return files
