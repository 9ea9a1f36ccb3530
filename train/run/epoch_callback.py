"""The user's function that is given the figures of each epoch (``--on-epoch FILE.py:FUNCTION``).

It is for services that track experiments, such as Weights & Biases or MLflow.
"""

from collections.abc import Callable
from pathlib import Path

import jax

from ..config import Config
from ..python_objects import load_object


class EpochCallback:
    """The function of ``--on-epoch``, or nothing where there is none.

    Args:
        config: the configuration, whose ``on_epoch`` says where the function is.

    Raises:
        ValueError: there is no such file, module or function, or the file cannot be run.
    """

    def __init__(self, config: Config):
        self.title = config.on_epoch or ""
        self._function = load_object("on_epoch", config.on_epoch) if config.on_epoch else None
        """A function that takes the run folder and the figures of an epoch, by name."""

    def __call__(self, folder: Path, figures: dict, log: Callable[[str], None]) -> None:
        """Give the figures of an epoch to the function. A service that cannot be reached does not
        cost a training of hours, so an error of the function is a line, in every epoch. Several
        processes have the same figures: the first one gives them."""
        if self._function is None or jax.process_index() != 0:
            return
        try:
            self._function(folder, dict(figures))
        except Exception as error:
            where = f"after epoch {figures['epoch']}: {type(error).__name__}: {error}"
            log(f"warning: {self.title} failed {where}")
