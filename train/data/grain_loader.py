"""Batches from the disk, read by Grain while the device computes."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .on_disk import ImagesOnDisk

_THREADS = min(16, os.cpu_count() or 1)  # more only wait for each other's interpreter lock
AHEAD_BYTES = 2**28
_ON_DEVICE = 2


def require_grain() -> Any:
    """The module; ImportError says how to get it."""
    try:
        import grain  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            f"`loader` grain needs the package grain: pip install 'gconv_jax[grain]' ({error})"
        ) from None
    return grain


class _Pieces:
    """A source for Grain: element i is one of the pieces in which each row is read."""

    def __init__(self, image: ImagesOnDisk, rows: np.ndarray, pieces: int):
        self.image, self.pieces = image, pieces
        self.rows = rows.reshape(len(rows), -1)

    def __len__(self) -> int:
        return len(self.rows) * self.pieces

    def __getitem__(self, index: int) -> np.ndarray:
        step, piece = divmod(index, self.pieces)
        return self.image[np.array_split(self.rows[step], self.pieces)[piece]]

    def __repr__(self) -> str:  # Grain prints its sources in errors
        return f"{len(self.rows)} batches of {self.rows.shape[1]} images"


def read_ahead(
    image: ImagesOnDisk,
    rows: np.ndarray,
    put: Callable[[np.ndarray], Any],
    workers: int = 0,
    *,
    ahead_bytes: int = AHEAD_BYTES,
) -> Iterator[Any]:
    """Yield ``put(image[row])`` for each of the ``rows`` ``[steps, ...]``, in their order.

    Some threads, or ``workers`` processes, read and decode batches ahead, ``ahead_bytes`` of them,
    each batch in several pieces so that the first one is there soon; one more thread puts the next
    ones on the device. What comes depends on the rows alone, so an epoch is continued at step k
    with ``rows[k:]``.
    """
    grain = require_grain()
    shape = rows.shape[1:]
    count = int(np.prod(shape))
    size = max(1, count * int(np.prod(image.item)) * np.dtype(image.dtype).itemsize)
    ahead = int(np.clip(ahead_bytes // size, 2, 64))
    pieces = max(1, min(workers or _THREADS, count))
    threads, buffer = _THREADS, ahead * pieces
    if workers:  # each has such a buffer, and another in shared memory
        threads, buffer = max(1, _THREADS // workers), max(1, buffer // (2 * workers))
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=buffer)
    parts = grain.MapDataset.source(_Pieces(image, rows, pieces)).to_iter_dataset(options)
    if workers:
        _parse_flags()
        several = grain.multiprocessing.MultiprocessingOptions(
            num_workers=workers, per_worker_buffer_size=buffer
        )
        parts = parts.mp_prefetch(several)
    batches = parts.batch(
        pieces, batch_fn=lambda parts: put(np.concatenate(parts).reshape(*shape, *image.item))
    )
    prefetched = iter(
        grain.experimental.ThreadPrefetchIterDataset(batches, prefetch_buffer_size=_ON_DEVICE)
    )
    try:
        yield from _naming_dead_workers(prefetched) if workers else prefetched
    finally:
        prefetched.close()  # its threads and processes


def _naming_dead_workers(batches: Iterator[Any]) -> Iterator[Any]:
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except RuntimeError as error:
            raise OSError(
                f"a process that reads images has ended ({error}); perhaps memory or /dev/shm is "
                "short: mend that, or use fewer --workers, and --resume"
            ) from None
        yield batch


def _parse_flags() -> None:
    """Grain reads flags of absl, which only programs that are run by absl parse."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
