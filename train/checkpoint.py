"""Checkpoints by orbax, with a checksum of every file so that a damaged one is never loaded.

What is loaded is arrays and JSON: no code runs.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

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


class Moment(NamedTuple):
    """So many whole epochs, and so many steps of the next one."""

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
        """Of the checkpoints that are there, oldest first."""
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
    """Write a pytree of arrays to the folder ``path``, replacing what is there: arrays in orbax's
    format, and a manifest with the format, the library's version, shapes and checksums. Of several
    processes, which all have the same arrays, the first one does.

    OSError if it cannot be written; what was there before is still there.
    """
    if jax.process_index() != 0:
        return
    path = Path(path).absolute()
    beside = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    manifest = {"format": FORMAT, "gconv_jax": gconv_jax.__version__, "about": about}
    try:
        beside.mkdir(parents=True)
        with _without_tracebacks(), _checkpointer() as checkpointer:
            checkpointer.save(beside / "arrays", args=ocp.args.StandardSave(_named(tree)))
        manifest |= {"arrays": _shapes(_named(tree)), "files": _checksums(beside / "arrays")}
        (beside / MANIFEST).write_text(json.dumps(manifest, indent=1))
        shutil.rmtree(path, ignore_errors=True)
        os.replace(beside, path)
    except (OSError, ValueError) as error:  # tensorstore's are ValueErrors
        shutil.rmtree(beside, ignore_errors=True)
        full = "No space left on device" in str(error)
        reason = "no space left on device" if full else str(error).splitlines()[-1][-300:]
        raise OSError(f"cannot write {path}: {reason}; mend that and use --resume") from None


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


@contextlib.contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Orbax logs an exception in each of its threads, and then raises it."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


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
