"""The proof, before the first step, that all processes train with the same settings and data.

Each process makes its part of every batch from its own copy of the data. If the copies differed,
the figures would be wrong without a word, or a process would wait for another in vain.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

import jax
import numpy as np

from ..config import PLACES, Config
from ..data.on_disk import ImagesOnDisk
from ..data.splits import Data, Split


def require_agreement(config: Config, data: Data) -> None:
    """ValueError, in all processes, unless the configuration and the data of all are equal."""
    if jax.process_count() == 1:
        return
    from jax.experimental.multihost_utils import process_allgather

    names, hashes = zip(*digests(config, data).items(), strict=True)
    own = np.frombuffer(b"".join(hashes), np.uint8).reshape(len(names), -1)
    problem = disagreement(names, np.asarray(process_allgather(own)))
    if problem:
        raise ValueError(problem)


def disagreement(names: Sequence[str], table: np.ndarray) -> str | None:
    """Return how processes differ, or None: ``table`` is ``[process, name, byte of its hash]``."""
    differing = (table != table[:1]).any(-1)
    for process in np.flatnonzero(differing.any(-1))[:1]:
        parts = " and ".join(name for name, d in zip(names, differing[process], strict=True) if d)
        return (
            f"the {parts} of process {process} differ from those of process 0: give all processes "
            "the same files and the same version of the program"
        )
    return None


def digests(config: Config, data: Data) -> dict[str, bytes]:
    """Hashes of what has to be equal, by name; where files are is left out."""
    # The number of reading processes changes no figure.
    settings = dataclasses.replace(config, workers=0, **dict.fromkeys((*PLACES, "on_epoch")))
    parts = {"training": data.train, "validation": data.validation, "test": data.test}
    return {
        "settings": hashlib.sha256(settings.to_json().encode()).digest(),
        **{f"{name} images": _digest(split) for name, split in parts.items()},
    }


def _digest(split: Split | None) -> bytes:
    digest = hashlib.sha256()
    if split is not None:
        image = split.image
        # Images on the disk are not read again for this: their sums are known.
        numbers = image.sums if isinstance(image, ImagesOnDisk) else image
        digest.update(repr((image.shape, str(image.dtype))).encode())
        for array in (split.label, numbers):
            digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
