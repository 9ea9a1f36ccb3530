"""The description of a saved network, ``config.json``: what it must hold, read and written."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gconv_jax.ops.arguments import check_integer

CONFIG, WEIGHTS = "config.json", "model.safetensors"
FORMAT = 1
"""Counts what older code could not read; folders of this and of earlier formats are read."""
PARAM_DTYPES = ("bfloat16", "float16", "float32", "float64")
_KEYS = {
    "network": str,
    "arguments": dict,
    "parameters": int,
    "param_dtype": str | None,
    "classes": list | None,
    "images": dict,
    "figures": dict,
    "protocol": str | None,
    "about": dict,
    "versions": dict,
    "files": dict,
}


def read_config(path: Path) -> dict[str, Any]:
    """Return the description in a folder.

    FileNotFoundError if there is none. ValueError for a damaged one, a later format, or a file that
    is something else.
    """
    text = read_file(path / CONFIG)
    try:
        config = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path / CONFIG} is damaged: {error}") from None
    if not isinstance(config, dict) or "format" not in config:
        raise ValueError(
            f"{path} is not the folder of a saved network: {CONFIG} has no `format`; of the run "
            "folder of a training `python -m train export RUN --format pretrained` makes one"
        )
    written, versions = config["format"], config.get("versions")
    if not isinstance(written, int) or written > FORMAT:
        by = versions.get("gconv_jax", "?") if isinstance(versions, dict) else "?"
        raise ValueError(
            f"{path / CONFIG} has the format {written}, of gconv_jax {by}; this version reads "
            f"formats up to {FORMAT}: use a newer one"
        )
    for key, kind in _KEYS.items():
        if key not in config or not isinstance(config[key], kind):
            found = f"got {config[key]!r}" if key in config else "and is missing"
            raise ValueError(f"{path / CONFIG} is damaged: `{key}` must be {_name(kind)}, {found}")
    try:
        images, known = config["images"], config["files"].get(WEIGHTS)
        check_shape(images["shape"])
        check_range(images["range"])
        check_classes(config["classes"])
        check_figures(config["figures"], config["protocol"])
        if not isinstance(known, dict) or not isinstance(known.get("sha256"), str):
            raise ValueError(f"`files` must have the sha256 of {WEIGHTS}")
    except KeyError as key:
        raise ValueError(f"{path / CONFIG} is damaged: `images` must have {key}") from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path / CONFIG} is damaged: {error}") from None
    return config


def _name(kind: Any) -> str:
    names = {str: "a text", dict: "an object", int: "an integer"}
    return names.get(kind) or {str | None: "a text or null", list | None: "a list or null"}[kind]


def json_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_file(path: Path) -> bytes:
    """Return the bytes of a file of a folder. FileNotFoundError names the one that is missing."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path.parent} is not the folder of a saved network: it has no {path.name}"
        ) from None


def as_json(config: Mapping[str, Any]) -> str:
    """Return a description as text. ValueError for what is no JSON value."""
    try:
        return json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"`about` must hold JSON values: {error}") from None


def check_classes(classes: Sequence[str] | None) -> list[str] | None:
    """Return the names of outputs as a list; ValueError unless they are names."""
    if classes is None:
        return None
    if isinstance(classes, str) or not classes or not all(isinstance(c, str) for c in classes):
        raise ValueError(f"`classes` must be the names of the outputs, got {classes!r}")
    if twice := sorted({c for c in classes if list(classes).count(c) > 1}):
        raise ValueError(f"`classes` must be names that differ, got {twice[0]!r} twice")
    return list(classes)


def check_shape(shape: Sequence[int] | None) -> list[int] | None:
    """Return the shape of images as a list; ValueError or TypeError unless it is one."""
    return None if shape is None else [check_integer("image_shape", n, least=1) for n in shape]


def check_range(limits: Sequence[float]) -> list[float]:
    """Return the range of pixels as a list; ValueError unless it is two numbers, the lower one
    first."""
    found = [float(limit) for limit in limits]
    if len(found) != 2 or not found[0] < found[1] or not math.isfinite(found[1] - found[0]):
        raise ValueError(f"`image_range` must be two numbers, the lower one first, got {limits}")
    return found


def check_dtype(name: str | None) -> str | None:
    """Return the name of the dtype of parameters; ValueError unless it is one of numbers."""
    if name not in (None, *PARAM_DTYPES):
        raise ValueError(f"`param_dtype` must be one of {', '.join(PARAM_DTYPES)}, got {name!r}")
    return name


def check_figures(figures: Mapping[str, float] | None, protocol: str | None) -> dict[str, float]:
    """Return figures as numbers; ValueError unless it is said how they were measured."""
    if figures and not protocol:
        raise ValueError(f"`protocol` must say how the figures were measured: {', '.join(figures)}")
    return {str(name): float(value) for name, value in (figures or {}).items()}
