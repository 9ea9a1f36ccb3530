"""The image files of a user: a folder for each class, below one folder or its train/ and test/.

They are found and split here, by hashes of their names, and read in `train.data.image_folder`.
"""

import collections
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".jp2", ".gif", ".bmp"),
    *(".tif", ".tiff", ".pbm", ".pgm", ".pnm", ".ppm", ".fits", ".fit", ".fts", ".npy"),
)
SPLITS = {"train": "train", "test": "test", "validation": "validation", "val": "validation"}
"""Name of a folder -> split."""
_SHOWN = 10


class File(NamedTuple):
    """An image file that was found."""

    split: str
    label: int
    name: str
    """Its path in the folder, with ``/``."""
    size: int
    """The size in bytes."""
    digest: str | None = None
    """The SHA-256 of its content, once it is read."""


class Listing(NamedTuple):
    """The images in a folder."""

    files: list[File]
    """The files, in an order in which any first or last part has all classes in proportion."""
    names: tuple[str, ...]
    """The names of the classes."""
    own_test: bool
    """True if there is a folder of test images."""
    notes: tuple[str, ...]
    """Sentences on what was left out."""


def list_images(path: Path, test_fraction: float) -> Listing:
    """The image files in a folder, by split and class; nothing is read yet.

    With class folders below ``train`` the splits are those of the folders. Without ``test``, the
    share ``test_fraction`` of each class is kept for the test: the files whose names have the
    smallest hashes, so everyone gets the same split, wherever the folder is.
    """
    require_folder(path)
    folders = _split_folders(path)
    by_split: dict[str, dict[str, list[tuple[str, int]]]] = {}
    ignored: collections.Counter[str] = collections.Counter()
    for split, folder in folders.items():
        by_split[split] = {}
        for entry in _entries(folder):
            if entry.is_dir():
                files = _image_files(Path(entry.path), ignored, {os.path.realpath(folder)})
                relative = [
                    (Path(file).relative_to(path).as_posix(), _size(file)) for file in files
                ]
                by_split[split][entry.name] = relative
            else:
                suffix = _suffix(entry.name)
                ignored["beside the classes" if suffix in SUFFIXES else suffix] += 1
    names = sorted(by_split["train"])
    _check_classes(path, by_split, folders)
    if "test" not in by_split:
        by_split["train"], by_split["test"] = _kept_for_test(by_split["train"], test_fraction, path)
    files = []
    for split, classes in by_split.items():
        labeled = {names.index(name): class_files for name, class_files in classes.items()}
        files += [File(split, label, *file) for label, file in _in_proportion(labeled)]
    notes = []
    for split, classes in by_split.items():
        if missing := [name for name in names if name not in classes]:
            notes.append(f"{folders[split]} has no images of {join_names(missing)}")
    if ignored:
        kinds = ", ".join(f"{count} {kind}" for kind, count in ignored.most_common(_SHOWN))
        notes.append(f"ignored {pluralize(ignored.total(), 'file')} in {path}: {kinds}")
    return Listing(files, tuple(map(printable, names)), "test" in folders, tuple(notes))


def require_folder(path: Path) -> None:
    """ValueError unless ``path`` is a folder."""
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        raise ValueError(f"`data` {path} {what}; it must be a folder with a folder for each class")


def image_names(path: Path) -> Iterator[str]:
    """The paths in a folder, with ``/``, of all image files below it."""
    for file in _image_files(path, collections.Counter(), set()):
        yield Path(file).relative_to(path).as_posix()


def _split_folders(path: Path) -> dict[str, Path]:
    """Split -> its folder; ``{"train": path}`` if the classes are in the folder itself."""
    inside = {entry.name: Path(entry.path) for entry in _entries(path) if entry.is_dir()}
    train = inside.get("train")
    if train is None or not any(entry.is_dir() for entry in _entries(train)):
        if train is not None and inside.keys() <= SPLITS.keys():
            raise ValueError(f"`data` {train} has no folder for each class")
        return {"train": path}
    others = sorted(inside.keys() - SPLITS.keys())
    if others:
        raise ValueError(
            f"`data` {path} has folders of classes in train/, and beside it "
            f"{join_names(others)}: are those classes "
            "too? Move them elsewhere, or everything into train/ and test/"
        )
    folders: dict[str, Path] = {}
    for name, folder in inside.items():
        if SPLITS[name] in folders:
            raise ValueError(f"`data` {path} has both validation/ and val/: keep one")
        folders[SPLITS[name]] = folder
    return {split: folders[split] for split in SPLITS.values() if split in folders}


def _check_classes(path: Path, by_split: dict[str, dict[str, list]], folders: dict) -> None:
    classes = by_split["train"]
    if len(classes) < 2:
        where = folders["train"]
        found = f"there is only {join_names(list(classes))}" if classes else "there is none"
        raise ValueError(
            f"`data` {where} must have a folder for each of two or more classes; {found}"
        )
    for split, split_classes in by_split.items():
        unknown = sorted(split_classes.keys() - classes.keys())
        if unknown:
            raise ValueError(
                f"`data` {folders[split]} has classes that {folders['train']} has not: "
                f"{join_names(unknown)}"
            )
        empty = sorted(name for name, files in split_classes.items() if not files)
        if empty:
            raise ValueError(
                f"`data` {folders[split]} has folders without image files: {join_names(empty)}; "
                f"add images ({', '.join(SUFFIXES)}) or remove them"
            )
        if not split_classes:
            raise ValueError(f"`data` {folders[split]} has no folder for each class")


def _kept_for_test(classes: dict[str, list], fraction: float, path: Path) -> tuple[dict, dict]:
    train, test = {}, {}
    for name, files in classes.items():
        if len(files) < 2:
            raise ValueError(
                f"`data` {path / name} has one image: with no test/ folder, a class needs one to "
                "train on and one to test on"
            )
        count = min(max(1, round(fraction * len(files))), len(files) - 1)
        by_hash = sorted(files, key=_hash)
        train[name], test[name] = by_hash[count:], by_hash[:count]
    return train, test


def _in_proportion(classes: dict[int, list]) -> list[tuple[int, tuple[str, int]]]:
    """``(label, file)``, each class spread evenly over the list, in the order of its hashes."""
    places = []
    for label, files in classes.items():
        for i, file in enumerate(sorted(files, key=_hash)):
            places.append(((i + 0.5) / len(files), _hash(file), label, file))
    return [(label, file) for _, _, label, file in sorted(places)]


def _hash(file: tuple[str, int]) -> bytes:
    return hashlib.sha256(os.fsencode(file[0])).digest()


def _entries(folder: Path) -> list[os.DirEntry]:
    """Return the entries of a folder that are not hidden, sorted."""
    with os.scandir(folder) as entries:
        visible = (e for e in entries if not e.name.startswith(".") and e.name != "__MACOSX")
        return sorted(visible, key=lambda entry: entry.name)


def _image_files(folder: Path, ignored: collections.Counter, above: set[str]) -> Iterator[str]:
    """The paths of image files in a folder and in those below it; others are counted by kind."""
    real = os.path.realpath(folder)
    if real in above:  # a link to a folder that it is in
        return
    for entry in _entries(folder):
        if entry.is_dir():
            yield from _image_files(Path(entry.path), ignored, above | {real})
        elif (suffix := _suffix(entry.name)) in SUFFIXES:
            yield entry.path
        else:
            ignored[suffix] += 1


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # a link to nothing, which will be named when it is read
        return 0


def _suffix(name: str) -> str:
    return printable(Path(name).suffix.lower()) or "without a suffix"


def join_names(names: Sequence[str], most: int = _SHOWN) -> str:
    shown = ", ".join(map(printable, names[:most]))
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def pluralize(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def printable(name: str) -> str:
    """Names of files may hold bytes that are no text."""
    return os.fsencode(name).decode("utf-8", "replace")
