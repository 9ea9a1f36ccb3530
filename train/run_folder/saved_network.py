"""A saved network (`gconv_jax.models.save_pretrained`), which commands take in place of a run."""

from pathlib import Path
from typing import Any

from gconv_jax.models import pretrained_config, pretrained_networks
from gconv_jax.models.pretrained_folder import CONFIG, is_pretrained, pretrained_path

from .folder import Run

PROGRAM_KEY = "program"
"""The key below ``about`` with what this program needs beyond what any saved network says: the
``title``, the ``reading`` of image files, whether an image has ``several_labels``, and the
``mask_values`` of classes in the files of masks."""


class SavedNetwork:
    """The folder of a saved network, or a ready network by its name."""

    def __init__(self, place: Path):
        self.path = pretrained_path(place)
        self.config = pretrained_config(place)

    @property
    def program(self) -> dict[str, Any]:
        """The part that this program has written; empty in networks that it has not."""
        found = self.config["about"].get(PROGRAM_KEY, {})
        if not isinstance(found, dict):
            raise ValueError(f"{self.path / CONFIG} is damaged: `{PROGRAM_KEY}` is no object")
        return found

    @property
    def title(self) -> str:
        """The network in a table, as `train.config.Config.title`."""
        return str(self.program.get("title", self.path.name))


def open_run(place: Path) -> Run | SavedNetwork:
    """Return the run in a folder, or the saved network there or of that name.

    FileNotFoundError if it is neither.
    """
    if is_pretrained(place):
        return SavedNetwork(place)
    try:
        return Run.open(place)
    except FileNotFoundError as error:
        if place.is_dir():
            raise
        ready = ", ".join(pretrained_networks())
        raise FileNotFoundError(f"{error}; ready networks are {ready}") from None
