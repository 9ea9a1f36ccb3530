"""Early stopping: the epoch with the best validation error, and when to wait no longer."""

from collections.abc import Sequence


def best_epoch(records: Sequence[dict]) -> int | None:
    """The first epoch with the lowest validation error; None if none was evaluated."""
    evaluated = [r for r in records if "validation_error" in r]
    return min(evaluated, key=lambda r: r["validation_error"])["epoch"] if evaluated else None


def has_lost_patience(records: Sequence[dict], patience: int) -> bool:
    """Return whether the validation error has not fallen for ``patience`` epochs."""
    best = best_epoch(records)
    return best is not None and records[-1]["epoch"] - best >= patience
