"""``environment.json``: the versions and devices that a run was computed with."""

import json
import os
import platform
from pathlib import Path

import jax

import gconv_jax

ENVIRONMENT = "environment.json"  # in a run folder
RESUMED = "resumed"


def environment() -> dict:
    """Return what a figure needs to be judged: versions and devices."""
    devices = jax.devices()
    return {
        "gconv_jax": gconv_jax.__version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "device": f"{len(devices)} x {devices[0].device_kind}",
        "processes": jax.process_count(),
        "cores": os.cpu_count(),
    }


def with_resumed(known: dict, after: str, now: dict) -> dict:
    """Return the contents of ``environment.json`` for a run that goes on after some moment: those
    that are ``known``, and the environment of ``now`` if it is another than the last one."""
    if not known:
        return now
    resumed = known.get(RESUMED, [])
    last = resumed[-1] if resumed else known
    if all(last.get(name) == value for name, value in now.items()):
        return known
    return known | {RESUMED: [*resumed, {"after": after} | now]}


def read_environment(folder: Path) -> dict:
    """Return what ``environment.json`` holds; nothing if it is missing or damaged."""
    try:
        found = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def shown(folder: Path) -> dict[str, str]:
    """The environment of a run by name, with what was other when it was resumed."""
    first = read_environment(folder)
    cells = {name: [str(value)] for name, value in first.items() if name != RESUMED}
    last = first
    for later in first.get(RESUMED, []):
        for name, value in later.items():
            if name != "after" and value != last.get(name):
                cells.setdefault(name, ["unknown"]).append(f"{value} after {later['after']}")
        last = later
    return {name: ", ".join(values) for name, values in cells.items()}
