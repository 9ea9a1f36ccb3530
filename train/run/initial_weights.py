"""The weights that a run starts from, kept in its folder."""

from pathlib import Path

from ..run_folder.checkpoint import CorruptCheckpointError, load_tree, save_tree
from ..run_folder.folder import Run
from ..steps.step import Steps

INITIAL = "init"
"""The copy in a run folder, with which the run goes on without the other network."""


def keep_weights(run: Run, steps: Steps) -> None:
    """Write the weights before the first step into a run folder, unless they are there."""
    if run.config.init is None or has_weights(run.path):
        return
    state = steps.init()
    save_tree(run.path / INITIAL, (state.params, state.stats))


def has_weights(folder: Path | None) -> bool:
    """Return whether a run folder, if there is one, has the weights that it starts from."""
    return folder is not None and (folder / INITIAL).is_dir()


def load_weights(folder: Path, steps: Steps) -> None:
    """Let steps begin from the weights in a run folder.

    ValueError if they are damaged.
    """
    path, state = folder / INITIAL, steps.init()
    try:
        steps.begin_from(*load_tree(path, (state.params, state.stats)))
    except CorruptCheckpointError as error:
        raise ValueError(
            f"{path}, the weights that the run started from, is damaged ({error}): remove it, and "
            "--resume reads them again from the network that --init named"
        ) from None
