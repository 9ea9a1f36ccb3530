"""The network that ``--init`` names, as options: it replaces that of the recipe."""

import dataclasses
from pathlib import Path
from typing import Any

from ..options.network import NetworkOptions
from ..options.networks import is_own, row_of
from ..python_objects import absolute_name


def with_initial_network(typed: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were typed with those of the network that ``--init`` names.

    ValueError if one that was typed is another one there.
    """
    init, found = typed["init"], _options_of(typed["init"])
    row = row_of(found["model"])
    for name, value in found.items():
        given = typed.get(name, value)
        if name == "model" and is_own(given):
            given = absolute_name(given)
        default = row.default_group if name == "group" and "group" in row.options else value
        if given not in (value, default if value is None else value):
            there = (default or "its published one") if value is None else value
            there = " ".join(there) if isinstance(there, tuple) else there
            raise ValueError(
                f"`{name}` {' '.join(given) if isinstance(given, tuple) else given} contradicts "
                f"--init {init}, whose network has {there}: leave it out"
            )
    return typed | found


def _options_of(init: str) -> dict[str, Any]:
    """Return all options of a network, by name."""
    # Only now, since they import JAX.
    from ..run_folder.folder import Run
    from ..run_folder.model_file import as_begun
    from ..run_folder.saved_network import open_run
    from ..steps.saved_options import saved_options

    place = open_run(Path(init).expanduser())
    defaults = {field.name: field.default for field in dataclasses.fields(NetworkOptions)}
    if isinstance(place, Run):
        config = as_begun(place.config, place.path)
        return {name: getattr(config, name) for name in defaults}
    try:
        return defaults | saved_options(place.config)
    except ValueError as error:
        raise ValueError(f"`init` {init}: {error}") from None
