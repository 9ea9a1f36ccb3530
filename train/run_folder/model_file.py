"""The file of a model of the user's own, kept with the run: parameters are of no use without it."""

import dataclasses
import os
import sys
from pathlib import Path

from ..config import Config
from ..options.networks import is_own
from ..python_objects import is_file, search_folder, source_file, split_name

MODEL_FILE = "own_model.py"
"""The copy, in a run folder."""
_said: set[str] = set()


def keep_model_file(config: Config, folder: Path) -> None:
    """Copy the file of the model into a run folder, if it is one of the user's own."""
    source = source_file(config.model) if is_own(config.model) else None
    if source is None:  # a module without a file, which is of Python itself or compiled
        return
    temporary = folder / f".{MODEL_FILE}.tmp"
    temporary.write_bytes(source.read_bytes())
    os.replace(temporary, folder / MODEL_FILE)


def as_begun(config: Config, folder: Path) -> Config:
    """Return the configuration of a run with the model that it began with: the copy in its folder,
    if the file has changed or is gone, which a line says."""
    copy = folder / MODEL_FILE
    if not is_own(config.model) or not copy.is_file():
        return config
    place, name = split_name(config.model)
    source = source_file(config.model)
    if source is not None and source.read_bytes() == copy.read_bytes():
        return config
    happened = "is not there any more" if source is None else "has changed since the run began"
    line = f"the file of the model, {source or place}, {happened}: {copy} is used, its copy"
    if line not in _said:  # a command may build the network several times
        _said.add(line)
        print(line, file=sys.stderr)
    if is_file(place):
        search_folder(Path(place).parent)  # what the file imports may still be there
    return dataclasses.replace(config, model=f"{copy.absolute()}:{name}")
