"""The figures of each task, by what they are used for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.splits import Data
from ..data.vectors import Vectors
from ..steps.task import Task, task_of_results
from .class_figures import (
    auc_by_class,
    class_figures,
    class_lines,
    class_mean_accuracy,
    figures_at_angles,
    mean,
    softmax,
)
from .examples import examples
from .label_examples import label_examples
from .label_figures import (
    auc_by_label,
    label_figures,
    label_figures_at_angles,
    label_lines,
    sigmoid,
)
from .mask_figures import mask_figures, mask_lines, mean_dice, mean_iou, worst_masks
from .number_figures import (
    largest_errors,
    number_figures,
    number_figures_at_angles,
    number_lines,
    relative_errors,
)


@dataclass(frozen=True)
class Figures:
    """The functions from logits and labels to plain numbers, and from these to words."""

    by_class: Callable[[np.ndarray, np.ndarray], dict]
    """The figures of images, all together and by class, or by target, from `Task.measured` and
    labels."""
    at_angles: Callable[[np.ndarray, np.ndarray], dict]
    """The same of images at several angles."""
    measured_at_angles: frozenset[str]
    """The keys of results by which it is known that these were measured."""
    probabilities: Callable[[np.ndarray], np.ndarray]
    """Logits to probabilities, in float64; numbers stay as they are."""
    rightness: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """Probabilities and labels to the mean probability of what is right of each image; of numbers,
    minus the relative error."""
    metrics: dict[str, Callable[[np.ndarray, np.ndarray], float]]
    """The figures beside loss and error that may choose an epoch, by the name in its record."""
    examples: Callable[[np.ndarray, Data], dict[str, list[dict[str, Any]]]]
    """The images to look at."""
    lines: Callable[[dict], list[str]]
    """The lines for the user below an error."""


def figures_of(task: Task) -> Figures:
    """Return the figures of a task."""
    if task.scale is not None:
        return _of_numbers(task.scale, task.vectors)
    if task.masks:
        return OF_MASKS
    return OF_LABELS if task.several else OF_CLASSES


def figure_lines(results: dict) -> list[str]:
    """Return the lines for the user that the error of a run alone would hide, if there are any."""
    return figures_of(task_of_results(results)).lines(results)


def _of_class(probabilities: np.ndarray, label: np.ndarray) -> np.ndarray:
    return probabilities[..., np.arange(len(label)), label]


def _of_labels(probabilities: np.ndarray, label: np.ndarray) -> np.ndarray:
    return np.where(label > 0, probabilities, 1 - probabilities).mean(-1)


def _mean_auc(areas: Callable) -> Callable[[np.ndarray, np.ndarray], float]:
    """Return the mean of the AUC of the classes, or NaN where the network has diverged."""

    def area(logits: np.ndarray, label: np.ndarray) -> float:
        found = mean(areas(logits, label)) if np.isfinite(logits).all() else None
        return np.nan if found is None else found

    return area


def _of_numbers(scale: np.ndarray, vectors: Vectors | None) -> Figures:
    """Return the figures of numbers with these standard deviations over the training images, some
    of which may be components of vectors."""
    return Figures(
        by_class=lambda values, label: number_figures(values, label, scale, vectors),
        at_angles=lambda values, label: number_figures_at_angles(values, label, scale, vectors),
        measured_at_angles=frozenset({"error_at_angle"}),
        probabilities=lambda values: np.asarray(values, np.float64),
        rightness=lambda values, label: -relative_errors(values, label, scale),
        metrics={},
        examples=lambda values, data: largest_errors(values, data, scale),
        lines=number_lines,
    )


OF_CLASSES = Figures(
    by_class=class_figures,
    at_angles=figures_at_angles,
    measured_at_angles=frozenset({"accuracy_at_angle", "recall_at_angle"}),
    probabilities=softmax,
    rightness=_of_class,
    metrics={"class_mean_accuracy": class_mean_accuracy, "auc": _mean_auc(auc_by_class)},
    examples=examples,
    lines=class_lines,
)
OF_LABELS = Figures(
    by_class=label_figures,
    at_angles=label_figures_at_angles,
    measured_at_angles=frozenset({"accuracy_at_angle", "auc_by_class_at_angle"}),
    probabilities=sigmoid,
    rightness=_of_labels,
    metrics={"auc": _mean_auc(auc_by_label)},
    examples=label_examples,
    lines=label_lines,
)
OF_MASKS = Figures(
    by_class=mask_figures,
    at_angles=lambda counts, label: {},  # `train.run.mask_turns` turns labels, too
    measured_at_angles=frozenset({"dice_at_angle"}),
    probabilities=softmax,
    rightness=lambda probabilities, label: np.empty(0),
    metrics={"dice": mean_dice, "iou": mean_iou},
    examples=worst_masks,
    lines=mask_lines,
)
