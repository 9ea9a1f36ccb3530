"""A file of predictions: a row for each image, as CSV or as JSON."""

import contextlib
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from .classify_files import Answer
from .output_file import replaced, require_output

SUFFIXES = (".csv", ".json")
COLUMNS = ("path", "predicted", "probability", "error")
"""The columns of a CSV file before those of the classes."""


def require_predictions(path: Path, names: Sequence[str]) -> None:
    """ValueError unless predictions of classes with these names can be written to ``path``."""
    require_output(path, SUFFIXES)
    taken = sorted(set(names) & set(COLUMNS))
    if taken and path.suffix.lower() == ".csv":
        raise ValueError(
            f"`output` {path} would have two columns {', '.join(taken)}, since a class has that "
            "name; name a .json file"
        )


@contextlib.contextmanager
def prediction_file(path: Path, names: Sequence[str]) -> Iterator[Callable[[Answer], None]]:
    """Give a function that writes the answer for one image.

    The file gets its name at the end, if there is no error. It has the path of the image, the
    predicted class, its probability, why the file cannot be read, and the probabilities of all
    classes: in columns of their names, or as an object.
    """
    write = _json_rows if path.suffix.lower() == ".json" else _csv_rows
    with replaced(path) as beside, write(beside, names) as row:
        yield row


@contextlib.contextmanager
def _csv_rows(path: Path, names: Sequence[str]) -> Iterator[Callable[[Answer], None]]:
    # Names of files may hold bytes that are no text, which are written as they are.
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, *names])

        def row(answer: Answer) -> None:
            name, probability, each = _facts(answer, names)
            each = each or [None] * len(names)
            # None is an empty cell.
            writer.writerow([answer.path, name, probability, answer.error, *each])

        yield row


@contextlib.contextmanager
def _json_rows(path: Path, names: Sequence[str]) -> Iterator[Callable[[Answer], None]]:
    with path.open("w", encoding="utf-8") as file:
        separator = "[\n"

        def row(answer: Answer) -> None:
            nonlocal separator
            name, probability, each = _facts(answer, names)
            values = (str(answer.path), name, probability, answer.error)
            whole = dict(zip(COLUMNS, values, strict=True))
            whole["probabilities"] = dict(zip(names, each, strict=True)) if each else None
            file.write(separator + json.dumps(whole, allow_nan=False))
            separator = ",\n"

        yield row
        file.write("\n]\n")


def _facts(
    answer: Answer, names: Sequence[str]
) -> tuple[str | None, float | None, Sequence[float]]:
    """The predicted class, its probability, and those of all."""
    if answer.row is None:
        return None, None, ()
    best = int(np.argmax(answer.row))
    each = [_shortest(p) for p in answer.row]
    return names[best], each[best], each


def _shortest(number: np.float32) -> float:
    """The number with the fewest digits that is the same as float32."""
    return float(str(number))
