"""The record of a user's images in a run folder: which files were trained on and which were not.

It is written when a run begins. Whatever becomes of the folder of images, the record decides what a
file is: a file that is not in it is not used, and a test image never becomes a training image.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..names import as_stored, composed, join_names, pluralize
from ..run_folder.folder import Run
from .array_file import ArrayFile
from .csv_lists import Targets, listed_labels
from .labels import places
from .layouts import SPLITS, is_array_file, require_folder
from .listing import File, Listing
from .mask_arrays import MaskArrays
from .scan import image_names

IMAGES = "images.jsonl"  # in a run folder
USED = ("test", "validation", "train")
UNREADABLE, UNUSED = "unreadable", "unused"
"""The parts of files that could not be read, and of those beyond --train-images or --test-images.
"""
_MORE = {"class": "class_name", "group": "group", "own_test": "own_test", "mask": "mask"}
"""Keys of a row that not all have, and the fields of a file that they hold."""
_NAMED = 3


class Record(NamedTuple):
    """The images that a run began with."""

    run: Path
    """The run folder."""
    files: tuple[File, ...]
    names: tuple[str, ...]
    """The classes, sorted; a label is a place in it."""
    own_test: bool
    """True if the user said which the test images were."""
    divided: bool
    """True if it lists validation, unreadable and unused files as such. Records of earlier versions
    list all files as they were found, as training or test images."""
    targets: Targets = None
    """The columns of numbers; None if images have classes."""

    @property
    def masks(self) -> bool:
        """True if the images have masks."""
        return any(file.mask is not None for file in self.files)


class Changes(NamedTuple):
    """The differences between the files of a folder and a record."""

    new: list[str]
    gone: list[File]
    changed: list[File]
    unreadable: list[File]
    """Files that were read when the run began."""
    relabeled: Sequence[File] = ()
    """Files that a CSV file gives another label now, or whose masks are others."""

    def __bool__(self) -> bool:
        return any(self)


def read_record(run: Run, targets: Targets = None) -> Record | None:
    """The record in a run folder, whose labels are the numbers in some columns if there are
    ``targets``; None if there is none. ValueError names a damaged one."""
    path = run.path / IMAGES
    if not path.is_file():
        return None
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        files = [
            File(
                *(row["split"], 0, str(row["file"]), int(row["bytes"]), row.get("sha256")),
                **{field: _hashable(row[key]) for key, field in _MORE.items() if key in row},
            )
            for row in rows
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from None
    known = (*USED, UNREADABLE, UNUSED)
    if not rows or any(file.split not in known for file in files):
        raise ValueError(f"{path} is damaged: it must list files of the parts {', '.join(known)}")
    own_test = any(file.own_test for file in files)
    if any(file.class_name is None for file in files):  # the paths say it
        below = _split_folders(file.name for file in files)
        own_test = below and any(file.name.startswith("test/") for file in files)
        classes = [file.name.split("/")[below] for file in files]
    else:
        classes = [file.class_name for file in files]
    names = sorted({name for of_file in classes for name in _names(of_file)})
    place = {name: label for label, name in enumerate(names)}
    labels = [tuple(place[n] for n in c) if isinstance(c, tuple) else place[c] for c in classes]
    files = tuple(f._replace(label=label) for f, label in zip(files, labels, strict=True))
    divided = any("sha256" in row for row in rows)
    return Record(run.path, files, tuple(names), own_test, divided, targets)


def _hashable(value):
    """Return what JSON keeps as a list as a tuple."""
    return tuple(map(str, value)) if isinstance(value, list) else value


def _names(class_name: str | tuple[str, ...]) -> tuple[str, ...]:
    return class_name if isinstance(class_name, tuple) else (class_name,)


def write_record(run: Run, files: Sequence[File]) -> None:
    """Write the record of a run that begins, or goes on with the same files.

    ValueError if the run has a record in which files are other parts, as one of several seeds may.
    """
    before = read_record(run)
    if before is not None and before.divided:
        parts = [{(composed(f.name), f.split) for f in of} for of in (before.files, files)]
        if parts[0] != parts[1]:
            raise ValueError(
                f"{run.path / IMAGES} lists other images than those of the runs it goes on with; "
                "resume it by itself"
            )
    run.write(IMAGES, lines(files))


def lines(files: Iterable[File]) -> str:
    """The record as text, one JSON object for each file."""
    rows = (
        {"split": f.split, "file": f.name, "bytes": f.size, "sha256": f.digest}
        | {k: value for k, field in _MORE.items() if (value := getattr(f, field)) or value == ()}
        for f in files
    )
    return "".join(json.dumps(row) + "\n" for row in rows)


def fingerprint(files: Iterable[File]) -> str:
    """A hash of the names, contents and parts of files."""
    same = lines(file._replace(name=composed(file.name)) for file in files)
    return hashlib.sha256(same.encode()).hexdigest()[:12]


def digest(path: Path) -> str | None:
    """The SHA-256 of a file; None if it cannot be read."""
    try:
        if not path.is_file():  # a pipe would wait for whoever writes to it
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def folder_of(data: Path) -> Path:
    """The folder that the names of files begin in: that of a CSV file, or the folder itself."""
    require_folder(data)
    return data if data.is_dir() else data.parent


def as_in(record: Record, folder: Path) -> Record:
    """The record with the names that its files have now: names in another Unicode form, as another
    file system may store them, are the same."""
    names = {f.name: as_stored(folder, f.name) for f in record.files if not f.name.isascii()}
    files = (file._replace(name=names.get(file.name) or file.name) for file in record.files)
    return record._replace(files=tuple(files))


def still_there(record: Record, data: Path) -> tuple[Listing, list[File]]:
    """The files of a record that are in a folder, or in a CSV file and where that says, as if they
    had just been found, and those that are gone. Files that were not used are in neither."""
    used = [file for file in record.files if file.split in USED]
    folder, listed = folder_of(data), None if data.is_dir() else _labels_now(record, data)
    in_folder = not is_array_file(data)
    there = [
        (listed is None or file.name in listed)
        and (not in_folder or os.path.lexists(folder / file.name))
        for file in used
    ]
    found = [file for file, is_there in zip(used, there, strict=True) if is_there]
    gone = [file for file, is_there in zip(used, there, strict=True) if not is_there]
    return Listing(found, record.names, record.own_test, ()), gone


def new_files(record: Record, data: Path) -> list[str]:
    """The image files in class folders, or the rows of a CSV file, that the record does not
    list."""
    known = {file.name for file in record.files}
    if not data.is_dir():
        return sorted(_labels_now(record, data).keys() - known)
    found = (name for name in image_names(data) if name not in known)
    # Files beside the folders of classes were ignored when the run began, too.
    if any(file.class_name is None for file in record.files):
        below = _split_folders(known)
        return sorted(n for n in found if n.count("/") > (below and n.split("/")[0] in SPLITS))
    depths = [_depth(file) for file in record.files]
    if None in depths:  # the record is of a CSV file
        return []
    return sorted(name for name in found if name.count("/") > max(depths))


def relabeled_files(record: Record, data: Path) -> list[File]:
    """The files to which a CSV file gives another label than the record."""
    now = {} if data.is_dir() else _labels_now(record, data)
    before = {file.name: {record.names[i] for i in places(file.label)} for file in record.files}
    return [
        file
        for file in record.files
        if set(now.get(file.name, before[file.name])) != before[file.name]
    ]


def labels_of(
    data: Path, *, several: bool = False, targets: Targets = None
) -> dict[str, tuple[str, ...]]:
    """Return the labels of each image of a file that lists or has images; an image may have none
    if it is known that images may have ``several``. With ``targets`` they are numbers as text."""
    if is_array_file(data):
        return ArrayFile(data, numbers=targets is not None).labels
    return listed_labels(data, several=several, targets=targets)


def _labels_now(record: Record, data: Path) -> dict[str, tuple[str, ...]]:
    """Return the labels that a file gives now to the images of a record, and to others."""
    if record.masks:
        return MaskArrays(data).labels
    several = any(isinstance(file.label, tuple) for file in record.files)
    return labels_of(data, several=several, targets=record.targets)


def _depth(file: File) -> int | None:
    """Return how many folders are above that of the class of a file, if its path has one."""
    parts = composed(file.name).split("/")[:-1]
    return parts.index(file.class_name) if file.class_name in parts else None


def changed_files(
    files: Iterable[File], folder: Path, digests: dict[str, str | None]
) -> list[File]:
    """The files whose content is not what the record says.

    Args:
        files: as they are recorded; earlier versions recorded the size alone.
        folder: where they are.
        digests: the SHA-256 of each file by its name, None if it cannot be read.
    """

    def differs(file: File) -> bool:
        now = digests[file.name]
        if now is None:  # it is told as unreadable
            return False
        if file.digest is None:
            return (folder / file.name).stat().st_size != file.size
        return now != file.digest

    return [file for file in files if differs(file)]


def told(record: Record, folder: Path, changes: Changes) -> str:
    """A line that names the changes: how many files, and the first of them."""
    totals = {s: sum(file.split == s for file in record.files) for s in USED}
    parts = []
    for what in ("gone", "changed", "relabeled", "unreadable"):
        files: Collection[File] = getattr(changes, what)
        for split in USED:
            names = [file.name for file in files if file.split == split]
            if names:
                kind = "training" if split == "train" else split
                total = pluralize(totals[split], f"{kind} image")
                parts.append(f"{len(names):,} of {total} {what} ({join_names(names, _NAMED)})")
    if changes.new:
        shown = join_names(changes.new, _NAMED)
        parts.append(f"{len(changes.new):,} new, not used ({shown})")
    return f"the images in {folder} are not those that {record.run} began with: " + "; ".join(parts)


def _split_folders(names: Iterable[str]) -> bool:
    """Return whether the classes are in train/ and test/: there are class folders in train/."""
    return any(name.startswith("train/") and name.count("/") > 1 for name in names)
