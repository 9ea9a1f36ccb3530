"""Errors that are not a user's mistake in an argument."""


class TrainingDivergedError(RuntimeError):
    """The loss or the parameters are not finite numbers any more."""
