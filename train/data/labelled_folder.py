"""Labelled images that are none of a run's own, to test a finished network on."""

import collections
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..config import FOLDER
from ..names import composed, join_names, pluralize, printable
from ..run_folder.folder import Run
from . import provenance
from .csv_lists import listed_rows
from .image_files import in_threads
from .image_folder import targets_of
from .labels import Label
from .layouts import SPLITS, is_array_file, require_folder
from .listing import File
from .provenance import Record, read_record
from .scan import SUFFIXES, entries, image_files, suffix_of
from .sources import ArraySource, FileSource, Source, open_masks, open_source

_NAMED = 3


class LabelledFiles(NamedTuple):
    """The images of a folder or a file, by class."""

    paths: list[Any]
    """Their paths, or their pixels (`train.data.sources.Source.item`)."""
    labels: list[Label] | list[str] | list[np.ndarray]
    """Their labels, numbers as text (`train.data.numbers`), or masks of class indices."""
    notes: list[str]
    """Lines for the user: what is not used."""


def is_new_set(run: Run, folder: Path) -> bool:
    """Return whether a folder or a file has images that are not those of the run.

    They are its own, moved, if one of the images that the run recorded is there, with its content.
    So is a folder if the run has no record, as runs of earlier versions.
    """
    folder = folder.expanduser()
    if run.config.dataset != FOLDER:
        require_folder(folder)
        return True
    targets = targets_of(run.config)
    if targets is not None and folder.is_dir():
        return True  # which is refused there
    record = read_record(run, targets)
    if record is None or not folder.exists() or folder.absolute() == run.config.data:
        return False
    if targets and is_array_file(folder):  # which names its numbers itself
        targets = ()
    source = open_masks(folder) if record.masks else open_source(folder, targets)
    return not any(_is_there(file, source) for file in record.files)


def list_labelled(
    folder: Path, names: Sequence[str], *, several: bool = False, numbers: bool = False
) -> LabelledFiles:
    """Return the image files in the folders of classes, or in those below test/.

    Some of the classes may be missing.

    Args:
        folder: the folder of classes or of splits.
        names: those of the classes that the network knows, in their order.
        several: whether the network knows several labels of an image.
        numbers: whether it predicts numbers, whose names these are.

    Raises:
        ValueError: no such folder, a class that the network does not know, no image, or labels of
            the other kind.
    """
    folder = folder.expanduser()
    require_folder(folder)
    if numbers:
        return _with_numbers(folder, names)
    if not folder.is_dir():
        return _listed(folder, names, several)
    if several:
        raise ValueError(
            f"`data` {folder} is a folder, which says one class of each image, and the network "
            "knows several labels: list the images with all their labels in a CSV file"
        )
    labels = {_compared(name): label for label, name in enumerate(names)}
    inside, notes = _folders(folder), []
    splits = [path for path in inside if path.name.lower() in SPLITS]
    if splits == inside and any(_compared(path.name) not in labels for path in inside):
        tests = [path for path in splits if SPLITS[path.name.lower()] == "test"]
        others = [f"{path.name}/" for path in splits if path not in tests]
        if len(tests) != 1:
            raise ValueError(
                f"`data` {folder} must have a folder for each class, or those in test/; it has "
                f"{join_names([f'{path.name}/' for path in splits])}"
                + (f"; name one of them, such as --data {splits[0]}" if splits else "")
            )
        (folder,) = tests
        notes += [f"only {folder} is evaluated, not {join_names(others)}"] if others else []
        inside = _folders(folder)
    unknown = [path.name for path in inside if _compared(path.name) not in labels]
    if unknown or not inside:
        lacking = f"has {join_names(unknown)}" if unknown else "has no folder of a class"
        raise ValueError(
            f"`data` {folder} {lacking}, and the network knows the classes {join_names(names)}; "
            "folders must have these names"
        )
    paths, found, ignored = [], [], collections.Counter[str]()
    for path in inside:
        files = [Path(name) for name in image_files(path, ignored, set())]
        paths += files
        found += [labels[_compared(path.name)]] * len(files)
    if not paths:
        raise ValueError(f"`data` {folder} has no image files in its folders")
    for entry in entries(folder):
        if not entry.is_dir():
            suffix = suffix_of(entry.name)
            ignored["beside the classes" if suffix in SUFFIXES else suffix] += 1
    if ignored:
        kinds = [f"{count:,} {kind}" for kind, count in ignored.most_common()]
        count = pluralize(ignored.total(), "file")
        notes.append(f"ignored {count} in {folder}: {join_names(kinds)}")
    return LabelledFiles(paths, found, notes)


def _with_numbers(data: Path, names: Sequence[str]) -> LabelledFiles:
    """Return the images of a CSV file or of an array file with their numbers."""
    if data.is_dir():
        raise ValueError(
            f"`data` {data} is a folder, which says the class of each image, and the network "
            f"predicts {join_names(names)}: list the images with these numbers in a CSV file"
        )
    targets = () if is_array_file(data) else tuple(names)
    source = open_source(data, targets)
    if [n.lower() for n in source.target_names] != [n.lower() for n in names]:
        raise ValueError(
            f"`data` {data} has the numbers {join_names(source.target_names)}, and the network "
            f"predicts {join_names(names)}"
        )
    texts, notes = _to_test(source)
    return LabelledFiles(
        [source.item(name) for name in texts], [t for (t,) in texts.values()], notes
    )


def _to_test(
    source: FileSource | ArraySource, *, several: bool = False
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Return the labels of the images to test on, if a list or an array file has such, or of
    all."""
    if isinstance(source, ArraySource):
        labels = source.file.labels
        tests = {name: of for name, of in labels.items() if name.startswith("test/")}
    else:
        rows = listed_rows(source.data, several=several, targets=source.targets)
        labels = {row.name: row.labels for row in rows}
        tests = {row.name: row.labels for row in rows if row.split == "test"}
    if not tests or len(tests) == len(labels):
        return labels, []
    return tests, [f"only the test images of {source.data} are evaluated"]


def _listed(data: Path, names: Sequence[str], several: bool) -> LabelledFiles:
    """Return the images of a CSV file or of an array file: those to test on, if it has such."""
    source = open_source(data)
    classes, notes = _to_test(source, several=several)
    labels = {_compared(name): label for label, name in enumerate(names)}
    every = {of for of_image in classes.values() for of in of_image}
    if unknown := sorted(of for of in every if _compared(of) not in labels):
        raise ValueError(
            f"`data` {data} has {join_names(unknown)}, and the network knows the classes "
            f"{join_names(names)}; labels must be these names"
        )
    odd = [name for name, of in classes.items() if len(of) != 1]
    if odd and not several:
        many = pluralize(len(odd), "image")
        raise ValueError(
            f"`data` {data} has {many} with several labels or none ({join_names(odd, _NAMED)}), "
            "and the network knows one class for each image: leave them out, or train on images "
            "with several labels"
        )
    items = [source.item(name) for name in classes]
    found = [tuple(sorted(labels[_compared(of)] for of in each)) for each in classes.values()]
    return LabelledFiles(items, found if several else [label for (label,) in found], notes)


def seen_in_training(record: Record, paths: Sequence[Any]) -> list[str]:
    """Return lines on images that are, byte for byte, among those that a run was trained on.

    Those that were only held out for its validation count too: they may have chosen its epoch.
    """
    recorded = {file.digest for file in record.files if file.split in ("train", "validation")}
    sizes = {file.size for file in record.files}
    files = [path for path in paths if isinstance(path, Path)]
    alike = [path for path in files if path.is_file() and path.stat().st_size in sizes]
    digests = in_threads(provenance.digest, alike)
    pairs = zip(alike, digests, strict=True)
    seen = [str(path) for path, digest in pairs if digest and digest in recorded]
    if not seen:
        return []
    verb = "is an image" if len(seen) == 1 else "are images"
    return [
        f"warning: {len(seen):,} of {pluralize(len(paths), 'image')} {verb} that the run was "
        f"trained or validated on, so that the error is too low: {join_names(seen, _NAMED)}"
    ]


def changed_names(record: Record, folder: Path) -> list[str]:
    """Return lines on files that have the names of recorded ones, and other contents."""
    folder = folder.expanduser()
    if not folder.is_dir():
        return []
    same = [file.name for file in record.files if (folder / file.name).is_file()]
    if not same:
        return []
    return [
        f"warning: {pluralize(len(same), 'image')} of {folder} have the names of images of "
        f"{record.run} and other contents ({join_names(same, _NAMED)}): if they are the same "
        "pictures, the network was trained on some of them"
    ]


def _is_there(file: File, source: Source) -> bool:
    """Return whether a recorded image is at a place, with its content."""
    if isinstance(source, ArraySource):
        there = file.name in source.file.places
        return there and source.digest(file.name) == file.digest
    path = source.item(file.name)
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    return file.digest is None or provenance.digest(path) == file.digest


def _folders(path: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without those that are hidden."""
    return [Path(entry.path) for entry in entries(path) if entry.is_dir()]


def _compared(name: str) -> str:
    """Return the name of a class in the form in which it is compared (NFC): file systems differ."""
    return composed(printable(name))
