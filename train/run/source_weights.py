"""The weights of another network, which ``--init`` names: read from a run or a saved network."""

from collections.abc import Sequence
from pathlib import Path

from gconv_jax.models import VectorOutputs

from ..config import Config
from ..run_folder.command_line import command
from ..run_folder.folder import Run
from ..run_folder.saved_network import open_run
from ..steps.model_parts import find_part
from ..steps.starting_weights import StartingWeights, arrays_of
from .initial_weights import has_weights
from .saved_predictor import open_predictor


def weights_for(config: Config, folders: Sequence[Path] = ()) -> StartingWeights | None:
    """Return the weights that runs start from; None if they are in all of their folders already, or
    the runs start from random ones."""
    if config.init is None or (folders and all(map(has_weights, folders))):
        return None
    return read_weights(config.init)


def read_weights(init: str) -> StartingWeights:
    """Return the weights of a finished run, of a saved network, or of a ready one by its name.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: the run is not finished, or a file is damaged.
    """
    found = open_run(Path(init).expanduser())
    if isinstance(found, Run) and found.results is None:
        raise ValueError(
            f"`init` {init} is a run that is not finished: finish it with "
            f"`{command('--resume', found.path)}`"
        )
    network = open_predictor(found)
    model = network.steps.model(network.params, network.stats)
    vectors = find_part(model, VectorOutputs) is not None
    return StartingWeights(init, arrays_of(model), network.classes, network.shape, vectors)
