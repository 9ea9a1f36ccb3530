"""Errors that are not a user's mistake in an argument."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import Config


class TrainingDivergedError(RuntimeError):
    """The loss or the parameters are not finite numbers any more."""


def diverged(what: str, step: int, config: "Config") -> TrainingDivergedError:
    """Return the error that names the step and what to try."""
    return TrainingDivergedError(
        f"{what} at step {step}; try a smaller --learning-rate (it is {config.learning_rate:g})"
        + (", --dtype float32" if config.dtype != "float32" else "")
        + ", or look for pixels that are not finite numbers. The last checkpoint is kept."
    )
