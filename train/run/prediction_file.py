"""A file of predictions: a row for each image, as CSV or as JSON."""

import contextlib
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.labels import SEPARATOR
from ..steps.task import Task
from .classify_files import Answer
from .output_file import replaced, require_output

SUFFIXES = (".csv", ".json")
COLUMNS = ("path", "predicted", "probability", "error")
"""The columns of a CSV file before those of the classes; with several labels there is no single
probability, and before numbers only path and error."""


def require_predictions(path: Path, names: Sequence[str]) -> None:
    """ValueError unless predictions of classes or numbers with these names can be written to
    ``path``."""
    require_output(path, SUFFIXES)
    taken = sorted(set(names) & set(COLUMNS))
    if taken and path.suffix.lower() == ".csv":
        raise ValueError(
            f"`output` {path} would have two columns {', '.join(taken)}, since a class or a number "
            "has that name; name a .json file"
        )


@contextlib.contextmanager
def prediction_file(
    path: Path, names: Sequence[str], task: Task
) -> Iterator[Callable[[Answer], None]]:
    """Give a function that writes the answer for one image.

    The file gets its name at the end, if there is no error. It has the path of the image, the
    predicted class, its probability, why the file cannot be read, and the probabilities of all
    classes: in columns of their names, or as an object. Where an image may have several labels,
    the predicted ones are those with a probability above 0.5, and are separated by semicolons, or
    a list. Of a network for numbers it has the path, the error and the numbers; of one for masks,
    the share of each class among the pixels.
    """
    write = _json_rows if path.suffix.lower() == ".json" else _csv_rows
    with replaced(path) as beside, write(beside, names, task) as row:
        yield row


@contextlib.contextmanager
def _csv_rows(path: Path, names: Sequence[str], task: Task) -> Iterator[Callable[[Answer], None]]:
    # Names of files may hold bytes that are no text, which are written as they are.
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        columns = ["path", *_facts(Answer("", None, None), names, task)[0]]
        writer.writerow([*columns, *names])

        def row(answer: Answer) -> None:
            facts, each = _facts(answer, names, task)
            if isinstance(facts.get("predicted"), list):
                facts["predicted"] = SEPARATOR.join(facts["predicted"])
            each = each or [None] * len(names)
            # None is an empty cell.
            writer.writerow([*({"path": answer.path} | facts).values(), *each])

        yield row


@contextlib.contextmanager
def _json_rows(path: Path, names: Sequence[str], task: Task) -> Iterator[Callable[[Answer], None]]:
    with path.open("w", encoding="utf-8") as file:
        separator = "[\n"

        def row(answer: Answer) -> None:
            nonlocal separator
            facts, each = _facts(answer, names, task)
            whole: dict[str, Any] = {"path": str(answer.path)} | facts
            key = "numbers" if task.numbers else "shares" if task.masks else "probabilities"
            whole[key] = dict(zip(names, each, strict=True)) if each else None
            file.write(separator + json.dumps(whole, allow_nan=False))
            separator = ",\n"

        yield row
        file.write("\n]\n")


def _facts(
    answer: Answer, names: Sequence[str], task: Task
) -> tuple[dict[str, Any], Sequence[float]]:
    """The cells after the path, by column, and the probabilities or shares of all classes, or the
    numbers."""
    error = {"error": answer.error}
    each = () if answer.row is None else [_shortest(p) for p in answer.row]
    if task.numbers or task.masks:
        return error, each
    if answer.row is None:
        return {"predicted": None} | ({} if task.several else {"probability": None}) | error, ()
    if task.several:
        said = [name for name, p in zip(names, each, strict=True) if p > 0.5]
        return {"predicted": said} | error, each
    best = int(np.argmax(answer.row))
    return {"predicted": names[best], "probability": each[best]} | error, each


def _shortest(number: np.float32) -> float:
    """The number with the fewest digits that is the same as float32."""
    return float(str(number))
