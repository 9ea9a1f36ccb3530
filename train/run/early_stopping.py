"""The epoch with the best validation error."""

from collections.abc import Sequence


def best_epoch(records: Sequence[dict]) -> int | None:
    """The first epoch with the lowest validation error; None if none was evaluated."""
    evaluated = [r for r in records if "validation_error" in r]
    return min(evaluated, key=lambda r: r["validation_error"])["epoch"] if evaluated else None
