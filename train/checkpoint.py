"""Checkpoints by orbax, with a checksum of every file so that a damaged one is never loaded."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

MANIFEST = "manifest.json"


class CorruptCheckpointError(Exception):
    """A checkpoint whose files are not what was written."""


class Checkpoints:
    """The numbered checkpoints of a run; the newest ``keep`` are kept.

    A checkpoint is written beside and renamed when whole, so a kill leaves the older ones.
    """

    def __init__(self, folder: Path, keep: int = 2):
        self.folder, self.keep = Path(folder).absolute(), keep

    def numbers(self) -> list[int]:
        """The checkpoints that are there, oldest first."""
        return sorted(int(p.name) for p in self.folder.glob("[0-9]*") if p.name.isdigit())

    def save(self, number: int, tree) -> None:
        """Write a pytree of arrays as checkpoint ``number``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        save_tree(self.folder / f"{number:06d}", tree)
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


def save_tree(path: Path, tree) -> None:
    """Write a pytree of arrays to the folder ``path``, replacing what is there."""
    path = Path(path).absolute()
    beside = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(beside / "arrays", _named(tree))
    manifest = {"arrays": _shapes(_named(tree)), "files": _checksums(beside / "arrays")}
    (beside / MANIFEST).write_text(json.dumps(manifest, indent=1))
    shutil.rmtree(path, ignore_errors=True)
    os.replace(beside, path)


def load_tree(path: Path, template):
    """Read the folder ``path`` into the structure of ``template``.

    Raises:
        CorruptCheckpointError: a file is missing or changed.
        ValueError: it is whole, but holds other arrays than ``template``.
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
    named = _named(template)
    if _shapes(named) != arrays:
        raise ValueError(f"{path} was written by a network of another shape, or an earlier version")
    with ocp.StandardCheckpointer() as checkpointer:
        restored = checkpointer.restore(path / "arrays", named)
    leaves = [jnp.asarray(restored[name]) for name in named]
    return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _named(tree) -> dict[str, np.ndarray]:
    """The leaves as host arrays by their path in the tree, e.g. ``params.layer0.conv.kernel``."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def _shapes(named: dict[str, np.ndarray]) -> dict[str, str]:
    return {name: f"{array.dtype}{list(array.shape)}" for name, array in named.items()}


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
