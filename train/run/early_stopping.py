"""Early stopping: the epoch with the best validation figure, and when to wait no longer."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

Metric = Literal["accuracy", "class-mean", "auc", "loss", "dice", "iou"]


class Choice(NamedTuple):
    """The way in which a metric compares epochs."""

    key: str
    """The name of the figure in the record of an epoch."""
    direction: Literal["lowest", "highest"]
    title: str
    """The figure in words."""

    @property
    def better(self) -> str:
        """The word for a better value: lower or higher."""
        return "lower" if self.direction == "lowest" else "higher"

    def __str__(self) -> str:
        return f"{self.direction} {self.title}"


CHOICES: dict[Metric, Choice] = {
    "accuracy": Choice("validation_error", "lowest", "validation error"),
    "class-mean": Choice(
        "validation_class_mean_accuracy", "highest", "class-mean accuracy of validation"
    ),
    "auc": Choice("validation_auc", "highest", "validation AUC"),
    "loss": Choice("validation_loss", "lowest", "validation loss"),
    "dice": Choice("validation_dice", "highest", "validation Dice"),
    "iou": Choice("validation_iou", "highest", "validation IoU"),
}


def choice_in_words(metric: Metric, error: str = "error") -> str:
    """Return which epoch a metric chooses, with the name of the error: the lowest validation
    error."""
    return str(CHOICES[metric]).replace("validation error", f"validation {error}")


def best_epoch(records: Sequence[dict], metric: Metric = "accuracy") -> int | None:
    """The first epoch with the best validation figure; None if none was evaluated."""
    key, direction, _ = CHOICES[metric]

    def cost(record: dict) -> float:
        value = record[key] if direction == "lowest" else -record[key]
        return value if math.isfinite(value) else math.inf

    evaluated = [record for record in records if key in record]
    return min(evaluated, key=cost)["epoch"] if evaluated else None


def has_lost_patience(records: Sequence[dict], patience: int, metric: Metric = "accuracy") -> bool:
    """Return whether the validation figure has not become better for ``patience`` epochs."""
    best = best_epoch(records, metric)
    return best is not None and records[-1]["epoch"] - best >= patience
