"""Batches from the disk, read by Grain while the device computes."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from train.stored import Stored

_THREADS = min(16, 2 * (os.cpu_count() or 1))
_AHEAD_BYTES = 2**28
_ON_DEVICE = 2


def require_grain() -> Any:
    """The module; ImportError says how to get it."""
    try:
        import grain
    except ImportError as error:
        raise ImportError(
            f"`loader` grain needs the package grain: pip install 'gconv_jax[grain]' ({error})"
        ) from None
    return grain


class _Rows:
    """What Grain asks of a source: element i is the batch that row i lists."""

    def __init__(self, image: Stored, rows: np.ndarray):
        self.image, self.rows = image, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, step: int) -> np.ndarray:
        return self.image[self.rows[step]]

    def __repr__(self) -> str:  # Grain prints its sources in errors
        return f"{len(self)} batches of {self.rows.shape[1:]} images"


def read_ahead(
    image: Stored, rows: np.ndarray, put: Callable[[np.ndarray], Any], workers: int = 0
) -> Iterator[Any]:
    """``put(image[row])`` for each of the ``rows`` ``[steps, ...]``, in their order.

    Some threads, or ``workers`` processes with some each, read and decode batches ahead, up to
    256 MiB of them; one more thread puts the next ones on the device. What comes depends on the
    rows alone, so an epoch is continued at step k with ``rows[k:]``.
    """
    grain = require_grain()
    batch = max(1, rows[0].size * int(np.prod(image.item)) * np.dtype(image.dtype).itemsize)
    ahead = int(np.clip(_AHEAD_BYTES // batch, 2, 64))
    options = grain.ReadOptions(num_threads=min(_THREADS, ahead), prefetch_buffer_size=ahead)
    batches = grain.MapDataset.source(_Rows(image, rows)).to_iter_dataset(options)
    if workers:
        _parse_flags()
        several = grain.multiprocessing.MultiprocessingOptions(
            num_workers=workers, per_worker_buffer_size=max(1, ahead // workers)
        )
        batches = batches.mp_prefetch(several)
    batches = batches.map(put)
    yield from grain.experimental.ThreadPrefetchIterDataset(
        batches, prefetch_buffer_size=_ON_DEVICE
    )


def _parse_flags() -> None:
    """Grain reads flags of absl, which only programs that are run by absl parse."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
