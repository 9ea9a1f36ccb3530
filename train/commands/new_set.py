"""The figures of a network on labelled images that are none of its run's own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..data.labelled_folder import changed_names, list_labelled, seen_in_training
from ..data.provenance import read_record
from ..names import join_names, pluralize, printable
from ..report.markdown import markdown_table
from ..run.classify_files import answer_files
from ..run.predictor import Predictor
from ..run_folder.folder import Run


def evaluate_new_set(
    run: Run, network: Predictor, folder: Path, log: Callable[[str], None] = print
) -> dict:
    """Print and return the figures of the images in a folder with folders of classes.

    Files that cannot be read are named and left out. ValueError as of `list_labelled`, or if none
    can be read.

    Returns:
        ``test_images``, ``test_error``, ``class_mean_accuracy`` (over the classes that have
        images), and ``error_by_class`` by name.
    """
    names = [network.name(label) for label in range(network.classes)]
    found, record = list_labelled(folder, names), read_record(run)
    notes = list(found.notes)
    if record is not None:
        notes += seen_in_training(record, found.paths) + changed_names(record, folder)
    images, wrong, errors = np.zeros(len(names), int), np.zeros(len(names), int), []
    answers = answer_files(network, found.paths, network)
    for label, answer in zip(found.labels, answers, strict=True):
        if answer.row is None:
            errors.append(printable(str(answer.error)))
            continue
        images[label] += 1
        wrong[label] += int(answer.row.argmax()) != label
    if errors:
        notes.append(f"skipped {pluralize(len(errors), 'file')}: {join_names(errors)}")
    if not images.any():
        raise ValueError("\n  ".join([f"no image in {folder} can be read", *notes]))
    for note in notes:
        log(note)
    figures = _figures(images, wrong, names)
    rows = [
        {"class": name, "images": f"{images[label]:,}", "error": _percent(error)}
        for label, name in enumerate(names)
        if (error := figures["error_by_class"].get(name)) is not None
    ]
    log(markdown_table(rows))
    absent = [name for label, name in enumerate(names) if not images[label]]
    if absent:
        log(f"no images of {join_names(absent)}")
    log(
        f"{folder} is a new set of {pluralize(int(images.sum()), 'image')}: error "
        f"{_percent(figures['test_error'])}, class-mean accuracy "
        f"{_percent(figures['class_mean_accuracy'])}"
    )
    return figures


def _figures(images: np.ndarray, wrong: np.ndarray, names: list[str]) -> dict:
    present = np.flatnonzero(images)
    errors = wrong[present] / images[present]
    return {
        "test_images": int(images.sum()),
        "test_error": float(wrong.sum() / images.sum()),
        "class_mean_accuracy": float(1 - errors.mean()),
        "error_by_class": {names[i]: float(e) for i, e in zip(present, errors, strict=True)},
    }


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
