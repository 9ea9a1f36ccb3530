"""The files and folders that are looked at, and those that the system or a program left there."""

import collections
import os
from collections.abc import Iterator
from pathlib import Path

from ..names import printable

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".jp2", ".gif", ".bmp"),
    *(".tif", ".tiff", ".pbm", ".pgm", ".pnm", ".ppm", ".fits", ".fit", ".fts", ".npy"),
)
LEFT_BEHIND = frozenset(
    {
        *("@eadir", "#recycle", "__macosx", "lost+found"),
        *("$recycle.bin", "system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini"),
    }
)
"""Names, in small letters, of what systems leave in folders, beside those with a dot in front."""


def entries(folder: Path) -> list[os.DirEntry]:
    """Return the entries of a folder, sorted, without what is hidden or left behind."""
    with os.scandir(folder) as found:
        return sorted(
            (e for e in found if e.name[0] != "." and e.name.lower() not in LEFT_BEHIND),
            key=lambda entry: entry.name,
        )


def folders_in(folder: Path) -> list[str]:
    """Return the names of the folders in a folder."""
    return [entry.name for entry in entries(folder) if entry.is_dir()]


def has_images(folder: Path) -> bool:
    """Return whether image files lie in a folder itself."""
    return any(suffix_of(e.name) in SUFFIXES and not e.is_dir() for e in entries(folder))


def image_names(path: Path) -> Iterator[str]:
    """Yield the paths in a folder, with ``/``, of all image files below it."""
    for file in image_files(path, collections.Counter(), set()):
        yield Path(file).relative_to(path).as_posix()


def image_files(folder: Path, ignored: collections.Counter, above: set[str]) -> Iterator[str]:
    """Yield the paths of image files in a folder and in those below it; others are counted by
    their kind in ``ignored``. ``above`` are the folders that this one is in."""
    real = os.path.realpath(folder)
    if real in above:  # a link to a folder that it is in
        return
    for entry in entries(folder):
        if entry.is_dir():
            yield from image_files(Path(entry.path), ignored, above | {real})
        elif (suffix := suffix_of(entry.name)) in SUFFIXES:
            yield entry.path
        else:
            ignored[suffix] += 1


def file_size(path: str | Path) -> int:
    """Return the size of a file in bytes; 0 if it cannot be told."""
    try:
        return os.stat(path).st_size
    except OSError:  # a link to nothing, which will be named when it is read
        return 0


def suffix_of(name: str) -> str:
    """Return the suffix in small letters, or words for none."""
    return printable(Path(name).suffix.lower()) or "without a suffix"
