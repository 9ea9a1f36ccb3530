"""The sections of a report on the classes: figures, confusions, angles, calibration, images."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..data.splits import Split
from ..run.class_figures import BINS, class_names, is_unbalanced, worst
from . import class_pictures
from .protocol import first_images
from .section import Section

MOST_ROWS = 50
"""The classes in a table."""
EXAMPLES = {
    "mistakes": ("The most confident mistakes", "mistakes.png"),
    "least_certain": ("The least certain images", "least_certain.png"),
}
"""The key of images in the results -> title and picture."""


def draw_classes(results: dict, test: Split, folder: Path) -> None:
    """Draw the pictures of `class_sections` into a folder; ``test`` are all test images."""
    if "by_class" not in results:
        return
    names = class_names(results)
    if "confusion" in results:
        class_pictures.confusion(results["confusion"], names, folder / "confusion.png")
    class_pictures.calibration(results["calibration"], folder / "calibration.png")
    if "recall_at_angle" in results:
        path = folder / "recall_against_angle.png"
        class_pictures.recall_against_angle(results, names, path)
    draw_examples(results, test, folder, lambda label, rows: label)


def draw_examples(
    results: dict,
    test: Split,
    folder: Path,
    truth: Callable[[np.ndarray, Sequence[dict]], np.ndarray],
) -> None:
    """Draw the images of `EXAMPLES` into a folder, as far as they are still there.

    Args:
        results: with the rows of these images.
        test: all test images.
        folder: where the pictures go.
        truth: the labels of these images, and their rows, to what the rows have as ``true``.
    """
    names = class_names(results)
    for key, (_, picture) in EXAMPLES.items():
        rows = results[key]
        # Once files of the run are gone, the others have other places.
        if not rows or len(test.label) != results["test_images"]:
            continue
        place = np.array([row["index"] for row in rows], int)
        if truth(test.label[place], rows).tolist() == [row["true"] for row in rows]:
            image = np.asarray(test.image[place])
            class_pictures.examples(image, rows, names, folder / picture)


def class_sections(results: dict) -> list[Section]:
    """The sections on the classes, upright; none for runs of earlier versions."""
    if "by_class" not in results:
        return []
    looked_at = [_examples(results, key) for key in EXAMPLES if results[key]]
    return [_figures(results), *_confusions(results), _calibration(results), *looked_at]


def _figures(results: dict) -> Section:
    found = results["by_class"]
    names, classes = class_names(results), range(len(found["images"]))
    recall = found["recall"]
    text = (
        f"Class-mean accuracy {percent(results['class_mean_accuracy'])}, the mean of the recalls "
        f"of the classes; AUC {number(results['auc'])}, "
    )
    if len(classes) == 2:
        text += "the same for both classes. "
    else:
        text += "the mean over the classes, each against all others. "
    if is_unbalanced(found):
        text += "The classes have different numbers of images, so that the test error says less. "
    text += (
        "Recall: the share of the images of a class that are found. Precision: the share of the "
        "images said to be of a class that are. F1: their harmonic mean."
    )
    shown = list(classes)
    if len(shown) > MOST_ROWS:
        shown = sorted((c for c in shown if recall[c] is not None), key=recall.__getitem__)
        shown = shown[:MOST_ROWS]
        text += f" The table has the {len(shown)} of {len(classes)} classes of the lowest recall."
    rows = tuple(
        {
            "class": names[c],
            "images": f"{found['images'][c]:,}",
            "said to be": f"{found['predicted'][c]:,}",
            "recall": percent(recall[c]),
            "precision": percent(found["precision"][c]),
            "F1": percent(found["f1"][c]),
            "AUC": number(found["auc"][c]),
        }
        for c in shown
    )
    return Section("Classes", text, table=rows)


def _confusions(results: dict) -> list[Section]:
    names = class_names(results)
    if "confusion" in results:
        rows = [
            {"true ↓ predicted →": name} | dict(zip(names, map("{:,}".format, counts), strict=True))
            for name, counts in zip(names, results["confusion"], strict=True)
        ]
        text = (
            "A row for each true class and a column for each predicted one, in numbers of test "
            "images. The color is the\nshare of the images of the true class."
        )
        section = Section("Confusion matrix", text, "confusion.png", "confusion matrix")
        return [section._replace(table=tuple(rows))]
    if not results["confusions"]:
        return []
    images = results["by_class"]["images"]
    rows = [
        {
            "true class": names[pair["true"]],
            "predicted": names[pair["predicted"]],
            "images": f"{pair['images']:,}",
            "of the true class": percent(pair["images"] / images[pair["true"]]),
        }
        for pair in results["confusions"]
    ]
    text = f"The {len(rows)} pairs of classes that most test images fall into."
    return [Section("The most frequent confusions", text, table=tuple(rows))]


def angle_sections(results: dict) -> list[Section]:
    """The section on the classes of images that turn; none for runs of earlier versions."""
    if not {"by_class", "recall_at_angle"} <= results.keys():
        return []
    names, angles = class_names(results), results["angles"]
    means, recall = results["class_mean_accuracy_at_angle"], results["recall_at_angle"]
    lowest = min(range(len(angles)), key=lambda i: worst(recall[i]) or 0.0)
    weakest = recall[lowest].index(worst(recall[lowest]))
    dip = min(range(len(angles)), key=means.__getitem__)
    lowest_mean = f"\n{percent(means[dip])} at {angles[dip]:g} degrees, where it is lowest"
    text = (
        f"{first_images(results, 'angle_images')}, turned further. The class-mean accuracy is "
        f"{percent(means[0])} upright and{lowest_mean if dip else ' nowhere lower'}. The lowest "
        f"recall is {percent(recall[lowest][weakest])}, of class {names[weakest]} at\n"
        f"{angles[lowest]:g} degrees"
        + figure_range("AUC", results["auc_at_angle"], number)
        + figure_range("calibration error", results["calibration_error_at_angle"], percent)
        + "."
    )
    return [
        Section(
            "Recall against rotation angle",
            text,
            "recall_against_angle.png",
            "recall of each class against angle",
        )
    ]


def _calibration(results: dict) -> Section:
    text = (
        f"Calibration error {percent(results['calibration_error'])}: the mean difference between "
        f"the probability of the predicted class\nand the accuracy, over {BINS} bins, weighted by "
        "their images (ECE). Below the diagonal the network is too sure."
    )
    return Section("Calibration", text, "calibration.png", "accuracy against probability")


def _examples(results: dict, key: str) -> Section:
    title, picture = EXAMPLES[key]
    rows, names = results[key], class_names(results)
    if key == "mistakes":
        text = "The wrong test images whose predicted class has the largest probabilities."
    else:
        text = "The test images whose predicted class has the smallest probabilities."
    table = tuple(
        {
            **({"file": row["file"]} if "file" in row else {"test image": str(row["index"])}),
            "true class": names[row["true"]],
            "predicted": names[row["predicted"]],
            "probability": percent(row["probability"]),
        }
        for row in rows
    )
    return Section(title, text, picture, title.lower(), table)


def figure_range(title: str, values: Sequence[float | None], shown) -> str:
    """Return the lowest and the highest of some figures, after others; nothing if none is known."""
    known = [value for value in values if value is not None]
    return f"; {title} from {shown(min(known))} to {shown(max(known))}" if known else ""


def percent(share: float | None) -> str:
    """A share in percent; a dash for what is not defined."""
    return "-" if share is None else f"{100 * share:.1f} %"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
