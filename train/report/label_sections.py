"""The sections of a report on images with several labels: figures of each class, angles,
calibration, single decisions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.splits import Split
from ..run.class_figures import BINS, class_names, worst
from ..run.label_figures import one_sided_sentence
from . import class_pictures
from .class_sections import (
    EXAMPLES,
    MOST_ROWS,
    draw_examples,
    figure_range,
    number,
    percent,
)
from .protocol import first_images
from .section import Section

_ANGLES = "auc_against_angle.png"
_TITLES = {
    "mistakes": "The most confident mistakes",
    "least_certain": "The least certain decisions",
}


def draw_labels(results: dict, test: Split, folder: Path) -> None:
    """Draw the pictures of `label_sections` into a folder; ``test`` are all test images."""
    if "by_class" not in results:
        return
    names = class_names(results)
    class_pictures.calibration(
        results["calibration"],
        folder / "calibration.png",
        right="images that have it (%)",
        said="probability of a label (%)",
        counted="decisions",
    )
    if "auc_by_class_at_angle" in results:
        areas, means = results["auc_by_class_at_angle"], results["auc_at_angle"]
        path = folder / _ANGLES
        class_pictures.by_class_against_angle(results["angles"], areas, means, names, "AUC", path)
    draw_examples(results, test, folder, _of_decisions)


def _of_decisions(label: np.ndarray, rows: Sequence[dict]) -> np.ndarray:
    return label[np.arange(len(rows)), [row["class"] for row in rows]] > 0


def label_sections(results: dict) -> list[Section]:
    """The sections on the classes, upright."""
    if "by_class" not in results:
        return []
    looked_at = [_examples(results, key) for key in EXAMPLES if results[key]]
    return [_figures(results), _calibration(results), *looked_at]


def label_angle_sections(results: dict) -> list[Section]:
    """The section on the classes of images that turn."""
    if not {"by_class", "auc_by_class_at_angle"} <= results.keys():
        return []
    names, angles, areas = class_names(results), results["angles"], results["auc_by_class_at_angle"]
    means = results["auc_at_angle"]
    if means[0] is None:
        return []
    dip = min(range(len(angles)), key=lambda i: means[i])
    lowest = min(range(len(angles)), key=lambda i: worst(areas[i]) or 0.0)
    weakest = areas[lowest].index(worst(areas[lowest]))
    text = (
        f"{first_images(results, 'angle_images')}, turned further. The mean AUC is "
        f"{number(means[0])} upright and\n{number(means[dip])} at {angles[dip]:g} degrees, where "
        f"it is lowest. The lowest AUC of a class is {number(areas[lowest][weakest])}, of "
        f"{names[weakest]} at\n{angles[lowest]:g} degrees"
        + figure_range("macro-F1", results["macro_f1_at_angle"], percent)
        + figure_range("calibration error", results["calibration_error_at_angle"], percent)
        + "."
    )
    return [Section("AUC against rotation angle", text, _ANGLES, "AUC of each class against angle")]


def label_rows(results: dict) -> list[dict[str, str]]:
    """The table of all classes, in cells by column."""
    found, names = results["by_class"], class_names(results)
    return [
        {
            "class": names[c],
            "images": f"{found['images'][c]:,}",
            "said to be": f"{found['predicted'][c]:,}",
            "recall": percent(found["recall"][c]),
            "precision": percent(found["precision"][c]),
            "F1": percent(found["f1"][c]),
            "AUC": number(found["auc"][c]),
            "average precision": number(found["average_precision"][c]),
        }
        for c in range(len(names))
    ]


def _figures(results: dict) -> Section:
    rows, found = label_rows(results), results["by_class"]
    share = results["labels_per_image"] / len(rows)
    text = (
        f"Label error {percent(results['test_error'])}: the share of wrong decisions over all "
        f"images and classes, at a probability of 0.5. It would be {percent(share)} if no label "
        f"were ever said. Exact match {percent(results['exact_match'])}: the share of images with "
        f"no wrong decision. Mean AUC {number(results['auc'])}, mean average precision "
        f"{number(results['average_precision'])} and macro-F1 {percent(results['macro_f1'])} are "
        "means over the classes, of those that test images have. "
    )
    if one_sided := one_sided_sentence(results):
        text += f"There is {one_sided}. "
    text += (
        "Recall: the share of the images of a class that are found. Precision: the share of the "
        "images said to have it that do. F1: their harmonic mean. Average precision: the area "
        "under the curve of precision against recall."
    )
    if len(rows) > MOST_ROWS:
        areas = found["auc"]
        known = [c for c, area in enumerate(areas) if area is not None]
        known = sorted(known, key=areas.__getitem__)[:MOST_ROWS]
        text += f" The table has the {len(known)} of {len(rows)} classes of the lowest AUC."
        rows = [rows[c] for c in known]
    return Section("Classes", text, table=tuple(rows))


def _calibration(results: dict) -> Section:
    text = (
        f"Calibration error {percent(results['calibration_error'])}: the mean difference between "
        f"the probability of a label\nand the share of images that have it, over {BINS} bins, "
        "weighted by their decisions (ECE). All decisions on\nall images and classes are in it. "
        "Below the diagonal the network says a label too often."
    )
    alt = "share of images with a label against its probability"
    return Section("Calibration", text, "calibration.png", alt)


def _examples(results: dict, key: str) -> Section:
    title, rows, names = _TITLES[key], results[key], class_names(results)
    if key == "mistakes":
        text = "The wrong decisions on test images whose probability is farthest from 0.5."
    else:
        text = "The decisions on test images whose probability is nearest to 0.5."
    table = tuple(
        {
            **({"file": row["file"]} if "file" in row else {"test image": str(row["index"])}),
            "class": names[row["class"]],
            "true": ("no", "yes")[row["true"]],
            "predicted": ("no", "yes")[row["predicted"]],
            "probability": percent(row["probability"]),
        }
        for row in rows
    )
    return Section(title, text, EXAMPLES[key][1], title.lower(), table)
