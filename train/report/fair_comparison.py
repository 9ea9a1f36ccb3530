"""The table and the verdict of networks that were trained alike: errors with standard errors."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..run.invariance import checked, worst
from ..steps.task import task_of_results
from .markdown import error_title, mean_and_deviation, result_cells

Seeds = Sequence[dict]
"""The results of one network, a seed each."""


def standard_error(results: Seeds) -> float:
    """Return the standard error of the mean test error that comes from the number of test images,
    as a share of 1: sqrt(p (1 - p) / n), or from the deviation of the error over the images, where
    that is no yes or no.

    >>> round(standard_error([{"test_error": 0.1, "test_images": 900}]), 6)
    0.01
    """
    if all("error_deviation" in of_seed for of_seed in results):
        deviation = float(np.mean([of_seed["error_deviation"] for of_seed in results]))
        return deviation / math.sqrt(results[0]["test_images"])
    p = mean_error(results)
    return math.sqrt(p * (1 - p) / results[0]["test_images"])


def mean_error(results: Seeds) -> float:
    """Return the mean test error over the seeds, as a share of 1."""
    return float(np.mean([of_seed["test_error"] for of_seed in results]))


def fair_cells(every: Mapping[str, Seeds]) -> list[dict[str, str]]:
    """Return the cells of the table, by column; a row for each network, by its name."""
    chosen = [
        max(results, key=_invariance_error) | {"model": name} for name, results in every.items()
    ]
    rows = []
    for cells, results in zip(result_cells(chosen), every.values(), strict=True):
        seconds = float(np.mean([of_seed["train_seconds"] for of_seed in results]))
        error = f"{100 * mean_error(results):.2f} ± {100 * standard_error(results):.2f} %"
        title = error_title(chosen)
        row = {"model": cells["model"], "parameters": cells["parameters"], title: error}
        if len(results) > 1:
            errors = [100 * of_seed["test_error"] for of_seed in results]
            row["over seeds"] = mean_and_deviation(errors)
        row |= {"worst accuracy over angles": worst_accuracy(results)}
        row |= {name: cell for name, cell in cells.items() if name not in (*row, "training time")}
        rows.append(row | {"training time": f"{seconds:.0f} s"})
    return rows


def verdicts(every: Mapping[str, Seeds]) -> list[str]:
    """Return a sentence on the first network beside each of the others: which is ahead, and whether
    that is more than chance makes of so many test images."""
    (first, ours), *others = every.items()
    return [_verdict(first, ours, other, theirs) for other, theirs in others]


def definitions(every: Mapping[str, Seeds]) -> str:
    """Return what the columns of the table mean."""
    results = next(iter(every.values()))
    images = results[0]["test_images"]
    task = task_of_results(results[0])
    formula = f"the deviation of the {task.error} over the images, / sqrt(n)"
    several = task.several or task.numbers or task.masks
    text = (
        f"{error_title(results).capitalize()}: ± is the standard error that {images:,} test images "
        f"leave, {formula if several else 'sqrt(p (1 - p) / n)'}. That of a difference is the root "
        "of the sum of both squares, as if each network had test images of its own; it is smaller "
        "for the same images. "
    )
    if len(results) == 1:
        text += "It does not hold the chance of the seed, which --seeds 5 shows. "
    else:
        text += f'"Over seeds" has the mean and the deviation over {len(results)} seeds. '
    if {"accuracy_at_angle", "angle_images"} <= results[0].keys():
        text += (
            f"The worst accuracy is the lowest over {len(results[0]['angles']) - 1} angles at "
            f"which the first {results[0]['angle_images']} test images are turned."
        )
    return text.rstrip()


def _verdict(first: str, ours: Seeds, other: str, theirs: Seeds) -> str:
    points = 100 * (mean_error(theirs) - mean_error(ours))
    error = 100 * math.hypot(standard_error(ours), standard_error(theirs))
    if points == 0:
        return f"{first} and {other} have the same {error_title(ours)}."
    where = "ahead of" if points > 0 else "behind"
    sentence = f"{first} is {abs(points):.2f} percentage points {where} {other}"
    if abs(points) > 2 * error:
        return f"{sentence}: more than twice the standard error of the difference ({error:.2f})."
    return (
        f"{sentence}: within twice the standard error of the difference ({error:.2f}), so that "
        "these test images do not tell which is better."
    )


def worst_accuracy(results: Seeds) -> str:
    """Return the lowest accuracy over the angles at which test images are turned, as a cell."""
    if not all("accuracy_at_angle" in of_seed for of_seed in results):
        return "-"
    lowest = float(np.mean([min(of_seed["accuracy_at_angle"]) for of_seed in results]))
    return f"{100 * lowest:.1f} %"


def _invariance_error(results: dict) -> float:
    """The largest invariance error of a network, to show that of the worst seed."""
    group = checked(results)
    error = None if group is None else worst(results, group, exact=True)
    return error or 0.0
