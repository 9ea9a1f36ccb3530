"""A file of results that a command writes where the user says, whole or not at all."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path


def require_output(path: Path, suffixes: Sequence[str]) -> None:
    """ValueError unless a file of one of these kinds can be written there."""
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"`output` must end in {' or '.join(suffixes)}, got {path}")
    if path.is_dir():
        raise ValueError(f"`output` {path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise ValueError(f"`output` {path} is in no folder that exists; make {path.parent} first")


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give the name of a file beside ``path``, which gets its name at the end.

    After an error or an interruption that file is removed, and one that was at ``path`` before is
    still there.
    """
    beside = path.with_name(f".{path.name}.tmp")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
