"""The image files of a user: a folder for each class, below one folder or its train/ and test/.

They are found here, split in `train.data.listing` by hashes of their names, and read in
`train.data.image_folder`.
"""

import collections
import os
from pathlib import Path

from ..names import composed, join_names, pluralize, printable
from .csv_lists import Targets, list_rows
from .groups import FOLDERS, group_by_pattern, of_pattern
from .layouts import SPLITS, Layout, find_layout, lists_in, require_folder
from .listing import Classes, File, Found, Listing, make_listing
from .scan import SUFFIXES, entries, file_size, image_files, suffix_of

__all__ = ["SPLITS", "File", "Listing", "join_names", "list_images", "pluralize", "printable"]

_MOST_KINDS = 10


def list_images(
    path: Path, test_fraction: float, groups_by: str | None = None, *, targets: Targets = None
) -> Listing:
    """The image files in a folder or a CSV file, by split and class; nothing is read yet.

    With class folders below ``train`` the splits are those of the folders. Without ``test``, the
    share ``test_fraction`` of each class is kept for the test: the files whose names have the
    smallest hashes, so everyone gets the same split, wherever the folder is. Images in one folder
    below that of their class stay on one side, or those for whose paths the regular expression
    ``groups_by`` finds the same.
    """
    require_folder(path)
    if path.is_file():
        return list_rows(path, test_fraction, groups_by, targets=targets)
    if targets is not None:
        remedy = "".join(f": --data {path / name}" for name in lists_in(path)[:1])
        raise ValueError(
            f"`task` regression needs the numbers of each image, and {path} is a folder: list its "
            f"images in a CSV file with a column path and one for each number{remedy}"
        )
    layout = find_layout(path)
    ignored: collections.Counter[str] = collections.Counter()
    by_split = {
        split: _classes(folder, layout.root, path, ignored)
        for split, folder in layout.folders.items()
    }
    _check_classes(by_split, layout)
    by_split = _in_groups(by_split, layout, groups_by)
    names = sorted(by_split["train"])
    notes = []
    if layout.root != path:
        notes.append(f"the classes are in {layout.root}, the only folder in {path}")
    for split, classes in by_split.items():
        if missing := [name for name in names if name not in classes]:
            notes.append(f"{layout.folders[split]} has no images of {join_names(missing)}")
    if ignored:
        kinds = ", ".join(f"{count} {kind}" for kind, count in ignored.most_common(_MOST_KINDS))
        notes.append(f"ignored {pluralize(ignored.total(), 'file')} in {path}: {kinds}")
    return make_listing(
        by_split,
        test_fraction=test_fraction,
        where=str(layout.root),
        grouped_by=FOLDERS if groups_by is None else of_pattern(groups_by),
        said=not _paths_say_classes(path, layout),
        notes=notes,
    )


def _classes(folder: Path, root: Path, path: Path, ignored: collections.Counter) -> Classes:
    """Return the files of each class in a folder. Names that differ in their Unicode form alone are
    those of one class."""
    classes: Classes = {}
    for entry in entries(folder):
        if entry.is_dir():
            found = image_files(Path(entry.path), ignored, {os.path.realpath(folder)})
            files = [_found(Path(file), root, path) for file in found]
            classes.setdefault(composed(entry.name), []).extend(files)
        else:
            suffix = suffix_of(entry.name)
            ignored["beside the classes" if suffix in SUFFIXES else suffix] += 1
    return classes


def _found(file: Path, root: Path, path: Path) -> Found:
    key = composed(file.relative_to(root).as_posix())
    return Found(file.relative_to(path).as_posix(), file_size(file), key)


def _in_groups(
    by_split: dict[str, Classes], layout: Layout, groups_by: str | None
) -> dict[str, Classes]:
    """Return the files with their groups, if there are groups."""

    def folder_below_class(key: str, depth: int) -> str:
        below = key.split("/")[depth:]
        # A file that is in no such folder is a group of its own.
        return below[0] if len(below) > 1 else key

    depths = {s: len(f.relative_to(layout.root).parts) + 1 for s, f in layout.folders.items()}
    keys = {s: [f.key for files in c.values() for f in files] for s, c in by_split.items()}
    every = [key for split in keys.values() for key in split]
    if groups_by is not None:
        found = dict(zip(every, group_by_pattern(groups_by, every), strict=True))
    elif any(key.count("/") > depths[split] for split in keys for key in keys[split]):
        found = {k: folder_below_class(k, depths[split]) for split in keys for k in keys[split]}
    else:
        return by_split
    return {
        split: {
            name: [file._replace(group=found[file.key]) for file in files]
            for name, files in classes.items()
        }
        for split, classes in by_split.items()
    }


def _paths_say_classes(path: Path, layout: Layout) -> bool:
    """Return whether records read classes and splits off the paths, as they always did."""
    folders = layout.folders.values()
    plain = ("train", "test", "val", "validation")
    return layout.root == path and all(
        (folder == path or folder.name in plain)
        and all(entry.name == composed(entry.name) for entry in entries(folder) if entry.is_dir())
        for folder in folders
    )


def _check_classes(by_split: dict[str, Classes], layout: Layout) -> None:
    folders, classes = layout.folders, by_split["train"]
    if len(classes) < 2:
        found = f"there is only {join_names(list(classes))}" if classes else "there is none"
        remedy = "".join(f"; or --data {layout.root / n}" for n in lists_in(layout.root)[:1])
        raise ValueError(
            f"`data` {folders['train']} must have a folder for each of two or more classes; "
            + found
            + remedy
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
