"""The layout of a folder of images: classes, or splits with classes below them."""

import os
from pathlib import Path
from typing import NamedTuple

from ..names import join_names
from .scan import entries, folders_in, has_images

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
}
"""Name of a folder, or word in a CSV file, in small letters -> split."""
_MOST_WRAPPERS = 5


class Layout(NamedTuple):
    """The folders that images are in."""

    root: Path
    """The folder with the classes or the splits."""
    folders: dict[str, Path]
    """Split -> the folder of its classes; ``{"train": root}`` if there are no splits."""


def split_of(word: str) -> str | None:
    """Return the split that a word means; None if it means none."""
    return SPLITS.get(word.strip().lower())


def find_layout(path: Path) -> Layout:
    """Return the layout of a folder. ValueError names one that looks like splits and is none."""
    root = _unwrapped(path)
    inside = folders_in(root)
    splits = {name: split for name in inside if (split := split_of(name))}
    others = [name for name in inside if name not in splits]
    trained_on = [name for name, split in splits.items() if split == "train"]
    if not splits or (others and len(splits) == len(trained_on) == 1 and _is_class(root, *splits)):
        return Layout(root, {"train": root})
    shown = join_names([f"{name}/" for name in splits])
    if others:
        raise ValueError(
            f"`data` {root} has {shown}, as splits are named, and beside that the folders "
            f"{join_names(others)}; move those into train/ if they are classes, or elsewhere if "
            f"they are not, and rename {shown} if that is a class"
        )
    for split in splits.values():
        same = [f"{name}/" for name in splits if splits[name] == split]
        if len(same) > 1:
            raise ValueError(
                f"`data` {root} has {' and '.join(same)}, which both mean {split}: keep one"
            )
    if not trained_on:
        raise ValueError(
            f"`data` {root} has {shown} and no train/: add train/ with a folder for each class, or "
            f"rename {shown} if these are classes"
        )
    (train,) = trained_on
    if not folders_in(root / train):
        raise ValueError(f"`data` {root / train} has no folder for each class")
    by_split = {split: root / name for name, split in splits.items()}
    order = dict.fromkeys(SPLITS.values())
    return Layout(root, {split: by_split[split] for split in order if split in by_split})


def _is_class(root: Path, name: str) -> bool:
    """Return whether a folder is named like a split and has images as a class has: trains are a
    class beside cars."""
    return not folders_in(root / name) and has_images(root / name)


def _unwrapped(path: Path) -> Path:
    """Return the folder with several folders, or with splits, that is all that a folder has in it,
    as an archive unpacked into a folder of its own name; else the folder itself."""
    inner = path
    for _ in range(_MOST_WRAPPERS):  # a folder may hold a link to itself
        inside = folders_in(inner)
        if len(inside) > 1 or any(map(split_of, inside)):
            return inner
        if not inside or has_images(inner):
            return path
        inner = inner / inside[0]
    return path


def require_folder(path: Path) -> None:
    """Raise ValueError unless ``path`` is a folder, or a file that may list or have images."""
    if path.is_dir() or (path.is_file() and (is_list(path) or is_array_file(path))):
        return
    what = "is no folder, CSV file or .npz file" if path.exists() else "does not exist"
    raise ValueError(
        f"`data` {path} {what}; it must be a folder with a folder for each class, a CSV file that "
        "lists images, or an .npz file of images and labels"
    )


def is_array_file(path: Path) -> bool:
    """Return whether a path is named like a file of arrays."""
    return path.suffix.lower() == ".npz"


def is_list(path: Path) -> bool:
    """Return whether a path is named like a file that lists images."""
    return path.suffix.lower() in (".csv", ".tsv", ".txt")


def lists_in(folder: Path) -> list[str]:
    """Return the names of the CSV files in a folder."""
    return [e.name for e in entries(folder) if os.path.splitext(e.name)[1].lower() == ".csv"]
