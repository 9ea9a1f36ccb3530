"""The user's function that is given the figures of each epoch (``--on-epoch FILE.py:FUNCTION``).

It is for services that track experiments, such as Weights & Biases or MLflow.
"""

import functools
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import jax

from ..config import Config

OnEpoch = Callable[[Path, dict], object]
"""A function that takes the run folder and the figures of an epoch, by name."""
MODULE = "_gconv_jax_on_epoch"
"""The name of the user's file as a module, so that none of theirs or of ours is hidden."""


class EpochCallback:
    """The function of ``--on-epoch``, or nothing where there is none.

    Args:
        config: the configuration, whose ``on_epoch`` says where the function is.

    Raises:
        ValueError: there is no such file or function, or the file cannot be run.
    """

    def __init__(self, config: Config):
        self.title = config.on_epoch or ""
        self._function = load_function(config.on_epoch) if config.on_epoch else None

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


@functools.cache
def load_function(text: str) -> OnEpoch:
    """Return the function that ``FILE.py:FUNCTION`` names. The file is run once, also for several
    networks in a row."""
    file, _, name = text.rpartition(":")
    path = Path(file).expanduser()
    if not path.is_file():
        raise ValueError(f"`on_epoch` {text}: there is no file {path.absolute()}")
    spec = importlib.util.spec_from_file_location(MODULE, path)
    assert spec is not None and spec.loader is not None, "every .py file has them"
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module  # dataclasses and pickle look for it there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"`on_epoch` {text}: {path} cannot be run: {reason}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"`on_epoch` {text}: {path} has no function {name}")
    return function
