"""The figures of a run by name, the one to judge it by first: for the card of its network."""

from typing import Any

from ..config import Config
from ..steps.task import Task, task_of_results
from .class_figures import class_names

_BY_METRIC = {"class-mean": "class_mean_accuracy", "auc": "auc", "dice": "dice", "iou": "iou"}
"""The keys of results by the ``--metric`` that chooses an epoch."""
_TARGETS = 10


def main_figures(config: Config, results: dict[str, Any]) -> dict[str, float]:
    """Return the figures of the test images by name, from the results of a run; none if it has
    none.

    The first one is that of ``--metric``; without it the mean Dice of masks, and the error of all
    others.
    """
    if "test_error" not in results:
        return {}
    task = task_of_results(results)
    names = _names(task)
    first = _BY_METRIC.get(config.metric, next(iter(names)))
    keys = sorted(names, key=lambda key: key != first)
    found = {f"test {names[key]}": results[key] for key in keys if results.get(key) is not None}
    if task.numbers and "by_target" in results:
        pairs = zip(class_names(results), results["by_target"]["mae"], strict=True)
        found |= {f"test mean absolute error of {name}": mae for name, mae in [*pairs][:_TARGETS]}
    return found


def _names(task: Task) -> dict[str, str]:
    """Return the figures of a task by their keys in results, in words."""
    error = {"test_error": task.error}
    if task.masks:
        return {"dice": "mean Dice", "iou": "mean IoU"} | error
    if task.numbers:
        return error | {"r2": "R2"}
    if task.several:
        return error | {"auc": "mean AUC", "exact_match": "exact match"}
    return error | {"class_mean_accuracy": "class-mean accuracy", "auc": "AUC"}
