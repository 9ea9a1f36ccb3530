"""The sections of a report on numbers: errors of each target, points, angles, largest errors."""

from pathlib import Path

import numpy as np

from ..data.splits import Split
from ..run.class_figures import class_names
from ..run.number_figures import r2_text, shown_number
from . import class_pictures, number_pictures
from .class_sections import MOST_ROWS, percent
from .protocol import first_images
from .section import Section

_POINTS, _ANGLES, _LARGEST = "numbers.png", "error_against_angle.png", "largest_errors.png"
_SHOWN = 3
"""The targets of an image in words."""


def draw_numbers(results: dict, test: Split, folder: Path) -> None:
    """Draw the pictures of the sections into a folder; ``test`` are all test images."""
    if "by_target" not in results:
        return
    names = class_names(results)
    number_pictures.points(results["points"], names, folder / _POINTS)
    if "mae_at_angle" in results:
        number_pictures.against_angle(results, names, folder / _ANGLES)
    rows = results["largest_errors"]
    # Once files of the run are gone, the others have other places.
    if len(test.label) != results["test_images"]:
        return
    place = np.array([row["index"] for row in rows], int)
    if np.allclose(test.label[place], [row["true"] for row in rows], rtol=1e-5, atol=1e-5):
        image = np.asarray(test.image[place])
        class_pictures.examples(image, rows, names, folder / _LARGEST)


def said_and_true(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The first number that is predicted of each image, and the right one in brackets."""
    pairs = zip(predicted[:, 0], true[:, 0], strict=True)
    return np.array([f"{shown_number(p)} ({shown_number(t)})" for p, t in pairs])


def number_sections(results: dict) -> list[Section]:
    """The sections on the targets, upright."""
    if "by_target" not in results:
        return []
    rows = number_rows(results)
    text = (
        f"Relative error {percent(results['test_error'])}: the mean over the targets of the "
        "absolute error, divided by the standard deviation of the target over the training images; "
        "it is near 80 % if their mean is said of every image. R2 is 1 less the mean square of the "
        "errors divided by the variance of the test images: 1 is perfect, and 0 as good as their "
        "mean. Bias: the mean of predicted less right numbers."
    )
    if "vectors" in results["input"]:
        text += " The deviation of a component of a vector is the root mean square of all of them."
    if len(rows) > MOST_ROWS:
        text += f" The table has the first {MOST_ROWS} of {len(rows)} targets."
    drawn = min(len(rows), number_pictures.MOST_TARGETS)
    points = f"{first_images({'n': len(results['points']['true'])} | results, 'n')}. On the line "
    points += "the predicted number is the right one."
    if drawn < len(rows):
        points += f" The first {drawn} of {len(rows)} targets."
    largest = tuple(
        {
            **({"file": row["file"]} if "file" in row else {"test image": str(row["index"])}),
            "right": _in_words(row["true"], results),
            "predicted": _in_words(row["predicted"], results),
            "relative error": percent(row["error"]),
        }
        for row in results["largest_errors"]
    )
    return [
        Section("Numbers", text, table=tuple(rows[:MOST_ROWS])),
        Section("Predicted and right numbers", points, _POINTS, "predicted against right numbers"),
        Section(
            "The largest errors",
            "The test images with the largest relative errors: the number that is farthest off.",
            _LARGEST,
            "the test images with the largest errors",
            largest,
        ),
    ]


def number_angle_sections(results: dict) -> list[Section]:
    """The section on images that turn."""
    if not {"by_target", "mae_at_angle"} <= results.keys():
        return []
    angles, errors = results["angles"], results["error_at_angle"]
    worst = max(range(len(angles)), key=errors.__getitem__)
    text = (
        f"{first_images(results, 'angle_images')}, turned further. The relative error is "
        f"{percent(errors[0])} upright and\n{percent(errors[worst])} at {angles[worst]:g} degrees, "
        "where it is largest. The numbers are those of the image upright: this is\nof use where "
        "they do not turn with it."
    )
    if "vectors" in results["input"]:
        text += " Predicted vectors are turned back before they are compared."
    return [Section("Error against rotation angle", text, _ANGLES, "error against angle")]


def number_rows(results: dict) -> list[dict[str, str]]:
    """The table of all targets, in cells by column."""
    found = results["by_target"]
    return [
        {
            "target": name,
            "mean absolute error": shown_number(found["mae"][k]),
            "root mean square": shown_number(found["rmse"][k]),
            "bias": shown_number(found["bias"][k]),
            "R2": r2_text(found["r2"][k]),
        }
        for k, name in enumerate(class_names(results))
    ]


def _in_words(values: list[float], results: dict) -> str:
    names = class_names(results)
    said = [f"{name} {shown_number(v)}" for name, v in zip(names, values, strict=True)]
    more = ", ..." if len(said) > _SHOWN else ""
    return ", ".join(said[:_SHOWN]) + more if len(said) > 1 else shown_number(values[0])
