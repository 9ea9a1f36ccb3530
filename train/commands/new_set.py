"""The figures of a network on labelled images that are none of its run's own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..data.labelled_folder import changed_names, list_labelled, seen_in_training
from ..data.labelled_masks import list_masks
from ..data.labels import label_array
from ..data.numbers import number_array
from ..data.provenance import Record
from ..names import join_names, pluralize, printable
from ..report.label_sections import label_rows
from ..report.markdown import markdown_table
from ..report.mask_sections import mask_rows
from ..report.number_sections import number_rows
from ..report.vector_sections import vector_rows
from ..run.classify_files import answer_files
from ..run.figures import figure_lines, figures_of
from ..run.mask_figures import wrong_shares
from ..run.predictor import Predictor


def evaluate_new_set(
    record: Record | None,
    network: Predictor,
    folder: Path,
    log: Callable[[str], None] = print,
) -> dict:
    """Print and return the figures of the images in a folder with folders of classes.

    Files that cannot be read are named and left out. ValueError as of `list_labelled`, or if none
    can be read.

    Args:
        record: of the images that the network was trained on, if there is one.
        network: the network.
        folder: the folder, or the file that lists or has images.
        log: takes the lines.

    Returns:
        ``test_images``, ``test_error``, and those of `train.run.figures.Figures.by_class`.
    """
    names = [network.name(label) for label in range(network.classes)]
    task, of = network.task, figures_of(network.task)
    several, numbers = task.several, task.numbers
    if network.masks is not None:
        found = list_masks(folder, network.masks, network.shape)
    else:
        found = list_labelled(folder, names, several=several, numbers=numbers)
    notes = list(found.notes)
    if record is not None:
        notes += seen_in_training(record, found.paths) + changed_names(record, folder)
    logits, labels, errors = [], [], []
    answers = answer_files(network, found.paths, network)
    for label, answer in zip(found.labels, answers, strict=True):
        if answer.row is None:
            errors.append(printable(str(answer.error)))
            continue
        # Logits of pixels are too many to keep.
        row = (
            task.measured(answer.row[None], np.asarray(label)[None])[0]
            if task.masks
            else answer.row
        )
        logits.append(np.asarray(row))
        labels.append(label)
    if errors:
        notes.append(f"skipped {pluralize(len(errors), 'file')}: {join_names(errors)}")
    if not labels:
        raise ValueError("\n  ".join([f"no image in {folder} can be read", *notes]))
    for note in notes:
        log(note)
    rows = np.stack(logits)
    if task.masks:
        label = np.stack(labels)
    elif numbers:
        label = number_array(labels, len(names))
    else:
        label = label_array(labels, len(names), several=several)
    error = float((wrong_shares(rows) if task.masks else task.errors(rows, label)).mean())
    figures = {"test_images": len(label), "test_error": error} | of.by_class(rows, label)
    if several or numbers or network.masks is not None:
        kind = {"scale": np.asarray(task.scale).tolist()} if numbers else {"several_labels": True}
        kind |= {} if task.vectors is None else {"vectors": task.vectors.places}
        rows_of = number_rows if numbers else label_rows
        if network.masks is not None:
            kind, rows_of = {"mask_values": network.masks.values}, mask_rows
        results = figures | {"input": {"names": names, **kind}}
        log(markdown_table(rows_of(results)))
        if task.vectors is not None:
            log(markdown_table(vector_rows(results)))
        count = pluralize(figures["test_images"], "image")
        log(f"{folder} is a new set of {count}: {task.error} {_percent(figures['test_error'])}")
        for line in figure_lines(results):
            log(line)
        return figures
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
