"""Checkpoints: NumPy's ``.npz`` and a checksum, so that a damaged one is never loaded.

What is loaded is arrays and JSON: no code runs.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gconv_jax

from .orbax_arrays import read_orbax

ARRAYS = "arrays.npz"
MANIFEST = "manifest.json"
FORMAT = 2
"""Counts what older code could not read; `load_tree` reads this and all before it."""


class CorruptCheckpointError(ValueError):
    """A checkpoint whose files are not what was written."""


class Moment(NamedTuple):
    """A moment of a training: whole epochs, and steps of the next one."""

    epoch: int
    step: int = 0

    @property
    def name(self) -> str:
        return f"{self.epoch:06d}" + (f"+{self.step:08d}" if self.step else "")

    def __str__(self) -> str:
        within = f" and {self.step:,} steps" if self.step else ""
        return f"epoch {self.epoch}{within}"


class Checkpoints:
    """The checkpoints of a run, each of a moment; the newest ``keep`` are kept.

    A checkpoint is written beside and renamed when whole, so a kill leaves the older ones. What
    they are ``about``, JSON such as the configuration, stands in their manifests.
    """

    def __init__(self, folder: Path, keep: int = 2, about: dict | None = None):
        self.folder, self.keep, self.about = Path(folder).absolute(), keep, about

    def moments(self) -> list[Moment]:
        """Return the moments of the checkpoints that are there, oldest first."""
        names = (re.fullmatch(r"(\d+)(?:\+(\d+))?", p.name) for p in self.folder.glob("[0-9]*"))
        return sorted(Moment(*(int(n or 0) for n in name.groups())) for name in names if name)

    def save(self, moment: Moment, tree) -> None:
        """Write a pytree of arrays as the checkpoint of a moment."""
        self.folder.mkdir(parents=True, exist_ok=True)
        save_tree(self.folder / moment.name, tree, about=self.about)
        # Later ones are damaged, or of a future that is being trained again.
        later = [m for m in self.moments() if m > moment]
        earlier = [m for m in self.moments() if m <= moment]
        for old in later + earlier[: -self.keep]:
            shutil.rmtree(self.folder / old.name)

    def restore(
        self, template: Callable[[Moment], Any], warn=print, at_most: Moment | None = None
    ) -> tuple[Moment, Any] | None:
        """The newest checkpoint that is whole, or None if there is none.

        ``template`` gives the structure of what was saved at a moment; ``warn`` is told of each
        damaged one that was passed over; those later than ``at_most`` are not looked at.
        """
        moments = [m for m in self.moments() if at_most is None or m <= at_most]
        for moment in reversed(moments):
            try:
                return moment, load_tree(self.folder / moment.name, template(moment))
            except CorruptCheckpointError as error:
                last = moment == moments[0]
                then = "none is left: starting again" if last else "trying the one before"
                warn(f"the checkpoint of {moment} is damaged ({error}); {then}")
        return None


def save_tree(path: Path, tree, about: dict | None = None) -> None:
    """Write a pytree of arrays to the folder ``path``, replacing what is there: the arrays, and a
    manifest with the format, the library's version, shapes and the checksum. Of several processes,
    which all have the same arrays, the first one does.

    The arrays are read back and compared before the folder gets its name.

    OSError if it cannot be written; what was there before is still there.
    """
    if jax.process_index() != 0:
        return
    path, named = Path(path).absolute(), _named(tree)
    beside = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    manifest = {"format": FORMAT, "gconv_jax": gconv_jax.__version__, "about": about}
    try:
        beside.mkdir(parents=True)
        with _synced(beside / ARRAYS) as file:
            np.savez(file, **{name: _plain(array) for name, array in named.items()})
        manifest |= {"arrays": _shapes(named), "files": {ARRAYS: _checksum(beside / ARRAYS)}}
        with _synced(beside / MANIFEST) as file:
            file.write(json.dumps(manifest, indent=1).encode())
        _require_equal(_read(beside, named), named)
        shutil.rmtree(path, ignore_errors=True)
        os.replace(beside, path)
    except (OSError, ValueError) as error:  # zipfile has a ValueError beside that of a full disk
        shutil.rmtree(beside, ignore_errors=True)
        full = "No space left on device" in f"{error} {error.__context__}"
        reason = "no space left on device" if full else str(error).splitlines()[-1][-300:]
        raise OSError(f"cannot write {path}: {reason}; mend that and use --resume") from None


def load_tree(path: Path, template):
    """Read the folder ``path`` into the structure of ``template``.

    Raises:
        CorruptCheckpointError: a file is missing or changed.
        ValueError: it is whole, but of a later format, or holds other arrays than ``template``.
    """
    named = _named(template)
    read = _read(Path(path).absolute(), named)
    leaves = [jnp.asarray(read[name]) for name in named]
    return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _read(path: Path, named: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays in the folder ``path``, which have the names, shapes and dtypes of ``named``."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        arrays, expected = dict(manifest["arrays"]), dict(manifest["files"])
        written = int(manifest.get("format", 1))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorruptCheckpointError(f"no readable {MANIFEST}: {error}") from None
    if written > FORMAT:
        raise ValueError(
            f"{path} was written by gconv_jax {manifest.get('gconv_jax')} in format {written}; "
            f"this version reads formats up to {FORMAT}: use a newer one"
        )
    place = path / "arrays" if written == 1 else path
    bad = sorted(name for name in expected if _checksum(place / name) != expected[name])
    if bad:
        raise CorruptCheckpointError(f"{len(bad)} of {len(expected)} files changed, e.g. {bad[0]}")
    if _shapes(named) != arrays:
        version = manifest.get("gconv_jax", "of an unknown version")
        raise ValueError(
            f"{path} was written by a network of another shape, with gconv_jax {version}"
        )
    if written == 1:
        return read_orbax(place, arrays)
    try:
        with np.load(path / ARRAYS, allow_pickle=False) as stored:
            return {name: stored[name].view(array.dtype) for name, array in named.items()}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CorruptCheckpointError(f"{ARRAYS} cannot be read: {error}") from None


def _require_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    for name, array in expected.items():
        if found[name].shape != array.shape or found[name].tobytes() != array.tobytes():
            raise CorruptCheckpointError(f"{name} was read back with other numbers")


def _plain(array: np.ndarray) -> np.ndarray:
    """The array, or its bits as integers where the dtype is not NumPy's own: bfloat16, say."""
    return array if array.dtype.kind in "biufc" else array.view(f"u{array.dtype.itemsize}")


@contextlib.contextmanager
def _synced(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, whose bytes are on the disk at the end: a rename may get there sooner."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _named(tree) -> dict[str, np.ndarray]:
    """The leaves as host arrays by their path in the tree, e.g. ``params.layer0.conv.kernel``."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def _shapes(named: dict[str, np.ndarray]) -> dict[str, str]:
    return {name: f"{array.dtype}{list(array.shape)}" for name, array in named.items()}


def _checksum(path: Path) -> str | None:
    """None if the file cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
