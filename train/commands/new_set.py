"""The figures of a network on labelled images that are none of its run's own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..data.labelled_folder import changed_names, list_labelled, seen_in_training
from ..data.provenance import read_record
from ..names import join_names, pluralize, printable
from ..report.markdown import markdown_table
from ..run.class_figures import class_figures
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
        ``test_images``, ``test_error``, and those of `train.run.class_figures.class_figures`.
    """
    names = [network.name(label) for label in range(network.classes)]
    found, record = list_labelled(folder, names), read_record(run)
    notes = list(found.notes)
    if record is not None:
        notes += seen_in_training(record, found.paths) + changed_names(record, folder)
    logits, labels, errors = [], [], []
    answers = answer_files(network, found.paths, network)
    for label, answer in zip(found.labels, answers, strict=True):
        if answer.row is None:
            errors.append(printable(str(answer.error)))
            continue
        logits.append(answer.row)
        labels.append(label)
    if errors:
        notes.append(f"skipped {pluralize(len(errors), 'file')}: {join_names(errors)}")
    if not labels:
        raise ValueError("\n  ".join([f"no image in {folder} can be read", *notes]))
    for note in notes:
        log(note)
    rows, label = np.stack(logits), np.array(labels)
    error = float((rows.argmax(-1) != label).mean())
    figures = {"test_images": len(label), "test_error": error} | class_figures(rows, label)
    images, recall = (figures["by_class"][name] for name in ("images", "recall"))
    present = [i for i, count in enumerate(images) if count]
    log(
        markdown_table(
            [
                {
                    "class": names[i],
                    "images": f"{images[i]:,}",
                    "error": _percent(1 - recall[i]),
                }
                for i in present
            ]
        )
    )
    if absent := [name for i, name in enumerate(names) if i not in present]:
        log(f"no images of {join_names(absent)}")
    log(
        f"{folder} is a new set of {pluralize(len(label), 'image')}: error {_percent(error)}, "
        f"class-mean accuracy {_percent(figures['class_mean_accuracy'])}"
    )
    return figures


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
