"""The image files of a user, listed with their labels in a CSV file."""

import csv
import io
import os
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..names import as_stored, composed, join_names, pluralize
from .groups import COLUMN, group_by_pattern, of_pattern
from .labels import SEPARATOR, split_labels
from .layouts import SPLITS, split_of
from .listing import (
    Found,
    Listing,
    by_no_label,
    by_one_label,
    by_rarest_label,
    check_classes,
    make_listing,
)
from .numbers import as_text, read_number
from .scan import file_size

Targets = tuple[str, ...] | None
"""The columns of numbers; empty for that of the label, and None if labels are classes."""
COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "image", "image_path"),
    "label": ("label", "class", "target"),
    "split": ("split", "set", "subset"),
    "group": ("group", "patient", "patient_id", "subject", "specimen"),
}
"""Content of a column -> the names that it may have in the header, the first before the others."""
_SEPARATORS = ",;\t"
_SHOWN = 10


class Row(NamedTuple):
    """A line of the file that names an image."""

    name: str
    """The path from the folder of the file, or the whole one if it is elsewhere."""
    labels: tuple[str, ...]
    """The one label; several, or none, where some row has several; one text of numbers."""
    split: str | None
    group: str | None


def list_rows(
    path: Path, test_fraction: float, groups_by: str | None = None, *, targets: Targets = None
) -> Listing:
    """The image files that a CSV file lists; see `train.data.class_folders.list_images`.

    Raises:
        ValueError: there is no header that names the columns, or rows are wrong: without a label,
            of a file that is not there, of an unknown split, or of the same file as another.
    """
    table = _read(path, targets)
    rows = list(_rows(path, table, there=True))
    keys = [composed(row.name) for row in rows]
    if groups_by is None:
        grouped_by, groups = COLUMN, [row.group for row in rows]
    else:
        grouped_by, groups = of_pattern(groups_by), group_by_pattern(groups_by, keys)
    numbers = targets is not None
    several = not numbers and any(len(row.labels) > 1 for row in rows)
    in_split: dict[str, list[Found]] = {}
    for row, key, group in zip(rows, keys, groups, strict=True):
        found = Found(row.name, file_size(path.parent / row.name), key, group, row.labels)
        if numbers:
            found = found._replace(labels=None, numbers=row.labels[0])
        in_split.setdefault(row.split or "train", []).append(found)
    notes = []
    if numbers:
        by_split = by_no_label(in_split, path)
    else:
        by_split = by_rarest_label(in_split) if several else by_one_label(in_split)
        notes += check_classes(by_split, path)
    by_split = {s: by_split[s] for s in dict.fromkeys(SPLITS.values()) if s in by_split}
    if table.unused:
        notes.append(f"columns of {path.name} that are not used: {join_names(table.unused)}")
    return make_listing(
        by_split,
        test_fraction=test_fraction,
        where=str(path),
        grouped_by=grouped_by,
        said=True,
        notes=notes,
    )


def target_names(path: Path, targets: Targets) -> tuple[str, ...]:
    """Return the names of the columns of numbers, as the header has them."""
    table = _read(path, targets or ())
    return tuple(table.header[place] for place in table.targets)


def listed_labels(
    path: Path, *, several: bool = False, targets: Targets = None
) -> dict[str, tuple[str, ...]]:
    """Return the labels of each file that a CSV file lists, by its path; files may be gone.

    Args:
        path: the CSV file.
        several: whether an image may have no label although none has several, since it is known
            from elsewhere that images may have several.
        targets: the columns of numbers, one text of which is the label.
    """
    rows = listed_rows(path, several=several, targets=targets)
    return {row.name: row.labels for row in rows}


def listed_rows(path: Path, *, several: bool = False, targets: Targets = None) -> list[Row]:
    """Return the rows of a CSV file; the arguments are those of `listed_labels`."""
    return list(_rows(path, _read(path, targets), there=False, several=several))


class _Table(NamedTuple):
    header: list[str]
    rows: list[tuple[int, list[str]]]
    """The lines after the header, with their numbers."""
    columns: dict[str, int]
    """Content of a column -> its place."""
    targets: tuple[int, ...]
    """The places of the columns of numbers; none if labels are classes."""
    separator: str
    """The character between the columns."""

    @property
    def unused(self) -> list[str]:
        """The names of the columns that say nothing here."""
        used = {*self.columns.values(), *self.targets}
        return [name for i, name in enumerate(self.header) if name and i not in used]


def _read(path: Path, targets: Targets = None) -> _Table:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`data` {path} is no text in UTF-8 (byte {error.start:,}): save it as CSV in UTF-8"
        ) from None
    first = next((line for line in io.StringIO(text) if line.strip()), "")
    if not first:
        raise ValueError(f"`data` {path} is empty; it must have a header and a row for each image")
    best = max(_SEPARATORS, key=lambda s: (len(_known(_cells(first, s))), first.count(s)))
    reader = csv.reader(io.StringIO(text), delimiter=best, strict=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise ValueError(f"`data` {path} line {reader.line_num}: {error}") from None
    (_, header), *rows = [(line, row) for line, row in rows if any(row)]
    columns = _columns(path, header, ("path",) if targets else ("path", "label"))
    places = () if targets is None else _targets(path, header, targets, columns)
    return _Table(header, rows, columns, places, best)


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]


def _known(header: list[str]) -> set[str]:
    names = {name.lower() for name in header}
    return {what for what, known in COLUMNS.items() if names & set(known)}


def _targets(
    path: Path, header: list[str], targets: tuple[str, ...], columns: dict[str, int]
) -> tuple[int, ...]:
    """Return the places of the columns of numbers: those of the names, or that of the label."""
    if not targets:
        return (columns["label"],)
    lower = [name.lower() for name in header]
    places = []
    for name in targets:
        found = [i for i, known in enumerate(header) if known == name]
        found = found or [i for i, known in enumerate(lower) if known == name.lower()]
        if len(found) != 1:
            many = "no column" if not found else f"{len(found)} columns"
            raise ValueError(
                f"`data` {path} has {many} {name}, which `targets` or `vectors` names; the columns "
                f"are {join_names(header)}"
            )
        if found[0] in (columns["path"], columns.get("split"), columns.get("group")):
            raise ValueError(
                f"`data` {path} has paths, splits or groups in the column {name}, which "
                "`targets` or `vectors` names: it is none of numbers"
            )
        places += found
    if len(set(places)) < len(places):
        raise ValueError(
            f"`targets` and `vectors` name a column of {path} twice: {join_names(targets)}"
        )
    return tuple(places)


def _columns(path: Path, header: list[str], needed: tuple[str, ...]) -> dict[str, int]:
    """Return the place of each column that is known."""
    lower = [name.lower() for name in header]
    columns: dict[str, int] = {}
    for what, known in COLUMNS.items():
        if what == "label" and what not in needed:
            continue
        places = [i for i, name in enumerate(lower) if name in known]
        exact = [i for i in places if lower[i] == what]
        if len(exact or places) > 1:
            raise ValueError(
                f"`data` {path} has {len(exact or places)} columns that may say the {what}: "
                f"{join_names([header[i] for i in exact or places])}; name one of them {what}, "
                "and the others something else"
            )
        if places:
            columns[what] = (exact or places)[0]
    for what in needed:
        if what not in columns:
            raise ValueError(
                f"`data` {path} line 1 must be a header with a column {what} "
                f"({', '.join(COLUMNS[what])}); the columns are {join_names(header)}"
            )
    return columns


def _rows(path: Path, table: _Table, *, there: bool, several: bool = False) -> Iterator[Row]:
    """Yield the rows. ValueError names those that are wrong; files may be gone unless they have to
    be ``there``, and have a label unless a row has ``several``."""
    columns = dict(table.columns)
    for what in ("split", "group"):
        # A column of which all cells are empty says nothing.
        if what in columns and not any(_cell(row, columns[what]) for _, row in table.rows):
            del columns[what]
    if table.targets:
        columns.pop("label", None)
    elif not several:
        several = any(SEPARATOR in _cell(row, columns["label"]) for _, row in table.rows)
    seen: dict[str, int] = {}
    rows, bad = [], []
    for line, row in table.rows:
        cells = {what: _cell(row, place) for what, place in columns.items()}
        name = _name(path.parent, cells["path"])
        labels, problem = _labels(table, row)
        problem = problem or _problem(cells, several)
        if any(row[len(table.header) :]):
            problem = f"{len(row)} columns, and the header has {len(table.header)}"
            if table.separator == SEPARATOR:
                problem += '; several labels need quotes, as in "cat;dog"'
        if problem is None and there and not (path.parent / name).is_file():
            problem = f"no file {cells['path']}"
        if problem is None and composed(name) in seen:
            problem = f"{cells['path']} is in line {seen[composed(name)]}, too"
        if problem is not None:
            bad.append(f"line {line}: {problem}")
            continue
        seen[composed(name)] = line
        split = split_of(cells["split"]) if "split" in cells else None
        group = composed(cells["group"]) if "group" in cells else None
        rows.append(Row(name, labels, split, group))
    if bad:
        more = f"; and {len(bad) - _SHOWN:,} more" if len(bad) > _SHOWN else ""
        shown = "; ".join(bad[:_SHOWN]) + more
        raise ValueError(f"`data` {path} has {pluralize(len(bad), 'wrong row')}: {shown}")
    yield from rows


def _labels(table: _Table, row: list[str]) -> tuple[tuple[str, ...], str | None]:
    """Return the labels of a row, or its numbers as one text, and what is wrong with them."""
    try:
        if not table.targets:
            return split_labels(composed(_cell(row, table.columns["label"]))), None
        cells = [(_cell(row, place), table.header[place]) for place in table.targets]
        return (as_text([read_number(*cell) for cell in cells]),), None
    except ValueError as error:
        return (), str(error)


def _problem(cells: dict[str, str], several: bool) -> str | None:
    """Return what is wrong with a row by itself, if anything is."""
    for what, cell in cells.items():
        if not cell and not (several and what == "label"):
            return f"empty {what}"
    if "split" in cells and split_of(cells["split"]) is None:
        return f"unknown split {cells['split']} (known are {', '.join(SPLITS)})"
    return None


def _cell(row: list[str], place: int) -> str:
    return row[place] if place < len(row) else ""


def _name(folder: Path, written: str) -> str:
    """Return a path as it is kept: from the folder of the CSV file, if it is in there."""
    name = written
    if "\\" in name and as_stored(folder, name) is None:  # of Windows
        name = name.replace("\\", "/")
    name = posixpath.normpath(os.path.expanduser(name))
    absolute = os.path.abspath(folder)
    if os.path.isabs(name) and os.path.commonpath([name, absolute]) == absolute:
        name = Path(name).relative_to(absolute).as_posix()
    return as_stored(folder, name) or name
