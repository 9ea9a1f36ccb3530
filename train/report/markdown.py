"""``report.md`` and its pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..config import Config
from ..data.pixels import to_unit
from ..data.splits import Split
from ..data.volumes import of_volumes
from ..run.class_figures import is_unbalanced
from ..run.invariance import checked, is_exact, sentence_of, worst
from ..run.report_parts import left_out_sentence
from ..run.session import Session
from ..run_folder.folder import Run
from ..steps.step import TrainState
from ..steps.task import said_classes, task_of_results
from ..steps.turned_images import Turn, turned
from . import plots
from .class_sections import angle_sections, class_sections, draw_classes
from .curves import INVARIANCE_PICTURE, QUARTERS_PICTURE, curves
from .first_filters import FILTERS, first_filters
from .label_sections import draw_labels, label_angle_sections, label_sections
from .mask_sections import (
    draw_predicted_masks,
    mask_angle_sections,
    mask_sections,
    quarter_turn_text,
)
from .number_sections import (
    draw_numbers,
    number_angle_sections,
    number_sections,
    said_and_true,
)
from .protocol import first_images, lower, protocol
from .relaxed_layers import departures
from .section import Section
from .vector_sections import draw_vectors, vector_angle_sections, vector_sections

SAMPLES = 32
FILTERS_PICTURE = "filters.png"


CURVES = (
    Section("Learning curves", "", "learning_curves.png", "loss and error against epochs"),
    Section(
        "Accuracy against rotation angle",
        "",
        "accuracy_against_angle.png",
        "accuracy against angle",
    ),
    Section(
        "Invariance error against rotation angle",
        "",
        INVARIANCE_PICTURE,
        "invariance error against angle",
    ),
    Section(
        "Accuracy at quarter turns",
        "",
        QUARTERS_PICTURE,
        "accuracy at quarter turns about each axis",
    ),
)
"""The curves that a picture has, of one run or of several."""


_OF_VOLUMES = (
    "Each picture is the maximum of a volume along its depth. Filters are volumes as well, and are "
    "not drawn."
)


def write_report(session: Session, state: TrainState, run: Run, results: dict) -> None:
    """Draw the pictures into the run folder, then write ``report.md`` around them."""
    config, name = run.config, session.config.title
    curves({name: run.metrics()}, {name: results}, run.path)
    if session.task.masks:
        draw_predicted_masks(session, state, results, run.path)
    else:
        _draw_predictions(session, state, results, run.path)
    if "supports" in results:
        plots.supports(results["supports"], run.path / "supports.png")
    if "symmetry_breaking" in results:
        departures(results["symmetry_breaking"], run.path / "symmetry_breaking.png")
    if not of_volumes(results):
        found = first_filters(session.steps.model(state.params, state.stats))
        if found is not None:
            plots.filters(*found, run.path / FILTERS_PICTURE)
    parts = [_shown(section, run.path) for section in shown_sections(results, run.path)]
    run.write(
        "report.md",
        "\n\n".join(
            [
                f"# {title(config, results)}",
                results_table([results]),
                protocol(config, results),
                *filter(None, [left_out_sentence(results.get("left_out", {}))]),
                *parts,
            ]
        )
        + "\n",
    )


def _draw_predictions(session: Session, state: TrainState, results: dict, folder: Path) -> None:
    """Draw the pictures of what is said of images, and of one that turns, into a folder."""
    test = Split(*(np.asarray(part[:SAMPLES]) for part in session.data.test))
    # As floating-point numbers, for which this has been compiled before.
    pixels = to_unit(session.trainer.preprocess(test.image))
    logits = session.trainer.logits(state, pixels, preprocessed=True)
    names = np.array(session.data.names or range(session.data.classes))
    answers = session.task.answers(logits)
    if session.task.numbers:
        true = said = said_and_true(answers, test.label)
    else:
        true, said = names_of(test.label, names), names_of(answers, names)
    plots.predictions(test.image, true, said, folder / "predictions.png")
    if "probabilities_at_angle" in results:
        image = np.asarray(session.data.test.image[[results.get("turning_image", 0)]])[0]
        plots.turning(
            _turned(image),
            results["angles"],
            np.array(results["probabilities_at_angle"]),
            names,
            folder / "turning.png",
        )
    draw = draw_numbers if session.task.numbers else draw_classes
    draw = draw_labels if session.task.several else draw
    draw(results, session.data.test, folder)
    draw_vectors(results, folder)


def names_of(answers: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Return the classes of images in words, from their labels or from a `Task.answers`."""
    said = [names[said_classes(answer)] for answer in answers]
    if answers.ndim == 1:
        return np.array([name for (name,) in said])
    return np.array([", ".join(map(str, labels)) or "none" for labels in said])


def _shown(section: Section, folder: Path) -> str:
    """A section in Markdown, with its picture if that is in the folder."""
    there = (folder / section.picture).is_file()
    picture = f"![{section.alt}]({section.picture})" if there else ""
    head = "\n".join(filter(None, [f"## {section.title}", section.text, picture]))
    return f"{head}\n\n{markdown_table(section.table)}" if section.table else head


def curve_sections(every: Sequence[dict]) -> list[Section]:
    """Those of `CURVES` that the results of at least one run have."""
    keys = (None, "accuracy_at_angle", "invariance_error_at_angle", "accuracy_at_quarter_turn")
    return [
        section
        for section, key in zip(CURVES, keys, strict=True)
        if key is None or any(key in results for results in every)
    ]


def title(config: Config, results: dict) -> str:
    """The heading of a report."""
    unfinished = results.get("unfinished")
    so_far = f", not finished: {unfinished}" if unfinished else ""
    return f"{config.title} on {config.dataset_title}{so_far}"


def shown_sections(results: dict, folder: Path) -> list[Section]:
    """The sections of a finished run, in order; without filters if there is no picture of any."""
    there = (folder / FILTERS_PICTURE).is_file()
    return [s for s in sections(results) if there or s.picture != FILTERS_PICTURE]


def sections(results: dict) -> list[Section]:
    """The sections of a finished run, in order."""
    learning, accuracy, invariance, quarters = CURVES
    numbers, masks = task_of_results(results).numbers, task_of_results(results).masks
    predicted = _OF_VOLUMES if of_volumes(results) else ""
    if numbers:
        predicted = f"The first number of each image, and in brackets the right one. {predicted}"
    if masks:
        predicted = "Image, mask, and what is said of its pixels."
        share = "Pixel accuracy, the share of right pixels. "
        of_classes, of_angles, right = mask_sections(results), [], ""
    elif task_of_results(results).several:
        of_classes, of_angles = label_sections(results), label_angle_sections(results)
        share = "Label accuracy, the share of right decisions over all images and classes. "
        right = "what is right of each class"
    else:
        of_classes, of_angles = class_sections(results), angle_sections(results)
        share, right = "", "their class"
    turning_image = (
        "The first test image while it turns"
        if "turning_image" not in results
        else f"Test image {results['turning_image']} while it turns. It is in the middle when "
        f"images are in the order of\nthe mean probability of {right} over all angles"
    )
    kind = "masks" if masks else "classes"
    found = {
        None: [learning],
        "by_mask_class" if masks else "by_class": of_classes,
        "by_vector": vector_sections(results),
        "by_target": number_sections(results),
        "accuracy_at_angle": [
            accuracy._replace(
                text=f"{share}{first_images(results, 'angle_images')}, turned further (bilinear). "
                "Corners that come from outside the\nimage have the median color of its border."
            )
        ],
        "calibration_error_at_angle": of_angles,
        "angle_error_at_angle": vector_angle_sections(results),
        "mae_at_angle": number_angle_sections(results),
        "dice_at_angle": mask_angle_sections(results),
        "invariance_error_at_angle": [
            invariance._replace(
                text=f"{sentence_of(results)}.\nRoot mean squares over "
                f"{lower(first_images(results, 'invariance_images'))} and all outputs. Between "
                "multiples of 90\ndegrees the image is interpolated, and pooling with strides is "
                "of pixels."
            )
        ],
        "accuracy_at_quarter_turn": [
            quarters._replace(
                text=f"{share}{first_images(results, 'angle_images')}, which are volumes, turned "
                "about each of their axes, exactly. There\nis no interpolation between quarter "
                f"turns.{quarter_turn_text(results)}"
            )
        ],
        "probabilities_at_angle": [
            Section(
                "An image that turns",
                f"{turning_image}. The curves\nare the probabilities of the classes; those above "
                f"0.1 somewhere, and at most {plots.MOST_CLASSES}.",
                "turning.png",
                "class probabilities against angle",
            )
        ],
        "supports": [
            Section(
                "Learned equivariance",
                "The part of the group that each layer keeps: its angles, and the probabilities of "
                "other elements.",
                "supports.png",
                "learned support of each layer",
            )
        ],
        "symmetry_breaking": [
            Section(
                "Learned departure from the symmetry",
                "The filter of each element beside the mean over the elements, relative to it: 0 "
                "everywhere is an equivariant layer.",
                "symmetry_breaking.png",
                "departure of each element in each relaxed layer",
            )
        ],
        "test_images": [
            Section(
                "Predictions",
                predicted.strip(),
                "predictions.png",
                f"test images with predicted {'numbers' if numbers else kind}",
            ),
            Section(
                "Filters of the first layer",
                f"A row for each group element: the same base filters, turned; the first {FILTERS} "
                "at most. Mean over\nthe input channels.",
                FILTERS_PICTURE,
                "filters",
            ),
        ],
    }
    if of_volumes(results):
        found["test_images"].pop()  # filters in space
    return [s for key, every in found.items() if key is None or key in results for s in every]


def _turned(image: np.ndarray) -> np.ndarray:
    """The image at nine angles from 0 to 360 degrees: ``[9, H, W, C]`` in [0, 1]."""
    pixels = to_unit(image)
    return np.stack([turned(pixels, Turn(45.0 * i % 360)) for i in range(9)])


def results_table(rows: Sequence[dict]) -> str:
    """The results of several runs as a Markdown table."""
    return markdown_table(result_cells(rows))


def result_cells(rows: Sequence[dict]) -> list[dict[str, str]]:
    """The cells of a table of the results of runs, by column; a row for each run."""
    return [
        {
            "model": row["model"],
            "parameters": f"{row['parameters']:,}",
            **errors,
            **cells,
            "training time": f"{row['train_seconds']:.0f} s",
        }
        for row, errors, cells in zip(rows, _errors(rows), invariance_cells(rows), strict=True)
    ]


def error_title(rows: Sequence[dict]) -> str:
    """Return the name of the test error of runs beside each other."""
    names = {task_of_results(row).error for row in rows}
    return f"test {names.pop() if len(names) == 1 else 'error'}"


def _errors(rows: Sequence[dict]) -> list[dict[str, str]]:
    """Return the cells on what is wrong, by column: the error, and beside it what it hides."""
    title = error_title(rows)
    of_class = [row for row in rows if "by_class" in row and not task_of_results(row).several]
    more = {}
    if any(is_unbalanced(row["by_class"]) for row in of_class):
        more["class-mean accuracy"] = "class_mean_accuracy"
    if all(task_of_results(row).numbers for row in rows):
        more["R2"] = "r2"
    if all(task_of_results(row).vectors for row in rows):
        more["angular error"] = "angle_error"
    if all(task_of_results(row).masks for row in rows):
        more |= {"mean Dice": "dice", "mean IoU": "iou"}
    if all(task_of_results(row).several for row in rows):
        more |= {"exact match": "exact_match", "mean AUC": "auc", "macro-F1": "macro_f1"}
    return [
        {title: f"{100 * row['test_error']:.2f} %"}
        | {column: _figure(key, row.get(key)) for column, key in more.items()}
        for row in rows
    ]


def _figure(key: str, found: float | None) -> str:
    if found is None:
        return "-"
    if key == "angle_error":
        return f"{found:.2f}°"
    return f"{found:.4f}" if key in ("auc", "r2") else f"{100 * found:.2f} %"


def invariance_cells(rows: Sequence[dict]) -> list[dict[str, str]]:
    """The cells on the invariance error of runs beside each other, by column: under which group
    each was checked, and the figures of elements that are exact and of those that interpolate, if
    there are any. A dash stands for what was not measured."""
    groups = [checked(row, rows) for row in rows]
    every = [name for group in groups if group is not None for name in group["elements"]]
    cells = []
    for row, group in zip(rows, groups, strict=True):
        cell = {
            "invariance error": _worst(row, group, exact=True),
            "under": "-" if group is None else group["group"],
        }
        if not all(map(is_exact, every)):
            cell["interpolated"] = _worst(row, group, exact=False)
        cells.append(cell)
    return cells


def _worst(results: dict, group: dict | None, *, exact: bool) -> str:
    found = None if group is None else worst(results, group, exact=exact)
    return "-" if found is None else f"{found:.1e}" if exact else f"{found:.2f}"


def mean_and_deviation(values: list[float]) -> str:
    """``2.28 ± 0.04``: with N - 1 in the denominator, and without it for a single value."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"


def markdown_table(rows: Sequence[dict[str, str]]) -> str:
    """Rows of cells by column, aligned."""
    lines = [tuple(rows[0]), *(tuple(row.values()) for row in rows)]
    # Names of classes and files may hold what ends a cell or a row.
    lines = [tuple(" ".join(c.split("\n")).replace("|", r"\|") for c in line) for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
