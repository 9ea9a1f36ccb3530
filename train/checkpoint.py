"""Checkpoints by orbax, with a checksum of every file so that a damaged one is never loaded.

What is loaded is arrays and JSON: no code runs.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

import gconv_jax

MANIFEST = "manifest.json"
FORMAT = 1
"""Counts what older code could not read; `load_tree` reads this and all before it."""


class CorruptCheckpointError(Exception):
    """A checkpoint whose files are not what was written."""


class Checkpoints:
    """The numbered checkpoints of a run; the newest ``keep`` are kept.

    A checkpoint is written beside and renamed when whole, so a kill leaves the older ones. What
    they are ``about``, JSON such as the configuration, stands in their manifests.
    """

    def __init__(self, folder: Path, keep: int = 2, about: dict | None = None):
        self.folder, self.keep, self.about = Path(folder).absolute(), keep, about

    def numbers(self) -> list[int]:
        """The checkpoints that are there, oldest first."""
        return sorted(int(p.name) for p in self.folder.glob("[0-9]*") if p.name.isdigit())

    def save(self, number: int, tree) -> None:
        """Write a pytree of arrays as checkpoint ``number``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        save_tree(self.folder / f"{number:06d}", tree, about=self.about)
        # Later ones are damaged, or of a future that is being trained again.
        later = [n for n in self.numbers() if n > number]
        earlier = [n for n in self.numbers() if n <= number]
        for n in later + earlier[: -self.keep]:
            shutil.rmtree(self.folder / f"{n:06d}")

    def restore(self, template, warn=print, at_most: int | None = None):
        """``(number, tree)`` of the newest checkpoint that is whole, or None if there is none.

        ``warn`` is told of each damaged one that was passed over; those with a number above
        ``at_most`` are not looked at.
        """
        numbers = [n for n in self.numbers() if at_most is None or n <= at_most]
        for number in reversed(numbers):
            try:
                return number, load_tree(self.folder / f"{number:06d}", template)
            except CorruptCheckpointError as error:
                last = number == numbers[0]
                then = "none is left: starting again" if last else "trying the one before"
                warn(f"checkpoint {number} is damaged ({error}); {then}")
        return None


def save_tree(path: Path, tree, about: dict | None = None) -> None:
    """Write a pytree of arrays to the folder ``path``, replacing what is there: arrays in orbax's
    format, and a manifest with the format, the library's version, shapes and checksums. Of several
    processes, which all have the same arrays, the first one does."""
    if jax.process_index() != 0:
        return
    path = Path(path).absolute()
    beside = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    with _checkpointer() as checkpointer:
        checkpointer.save(beside / "arrays", args=ocp.args.StandardSave(_named(tree)))
    manifest = {"format": FORMAT, "gconv_jax": gconv_jax.__version__, "about": about}
    manifest |= {"arrays": _shapes(_named(tree)), "files": _checksums(beside / "arrays")}
    (beside / MANIFEST).write_text(json.dumps(manifest, indent=1))
    shutil.rmtree(path, ignore_errors=True)
    os.replace(beside, path)


def load_tree(path: Path, template):
    """Read the folder ``path`` into the structure of ``template``.

    Raises:
        CorruptCheckpointError: a file is missing or changed.
        ValueError: it is whole, but of a later format, or holds other arrays than ``template``.
    """
    path = Path(path).absolute()
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        arrays, expected = dict(manifest["arrays"]), dict(manifest["files"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorruptCheckpointError(f"no readable {MANIFEST}: {error}") from None
    found = _checksums(path / "arrays")
    bad = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
    if bad:
        raise CorruptCheckpointError(f"{len(bad)} of {len(expected)} files changed, e.g. {bad[0]}")
    if manifest.get("format", 1) > FORMAT:
        raise ValueError(
            f"{path} was written by gconv_jax {manifest.get('gconv_jax')} in format "
            f"{manifest['format']}; this version reads formats up to {FORMAT}: use a newer one"
        )
    named = _named(template)
    if _shapes(named) != arrays:
        version = manifest.get("gconv_jax", "of an unknown version")
        raise ValueError(
            f"{path} was written by a network of another shape, with gconv_jax {version}"
        )
    with _checkpointer() as checkpointer:
        restored = checkpointer.restore(path / "arrays", args=ocp.args.StandardRestore(named))
    leaves = [jnp.asarray(restored[name]) for name in named]
    return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _checkpointer() -> ocp.Checkpointer:
    """Of this process alone: by default the first of several would wait for the others."""
    process = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=process, active_processes={process}, barrier_sync_key_prefix=f"of{process}"
    )
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _named(tree) -> dict[str, np.ndarray]:
    """The leaves as host arrays by their path in the tree, e.g. ``params.layer0.conv.kernel``."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def _shapes(named: dict[str, np.ndarray]) -> dict[str, str]:
    return {name: f"{array.dtype}{list(array.shape)}" for name, array in named.items()}


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
