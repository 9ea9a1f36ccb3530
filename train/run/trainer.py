"""The feeding of steps: from device memory or from the host, an epoch or a step at a time."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from tqdm import tqdm

from ..data.grain_loader import read_ahead
from ..data.on_disk import ImagesOnDisk
from ..data.splits import Split
from ..steps.parallel import Parallel
from ..steps.step import Batch, Metrics, Steps, TrainState

RESIDENT_BYTES = 2**30
LOGITS_BATCH = 128


class Trainer:
    """Runs the steps of a model over a training split and over evaluation splits.

    The order of an epoch depends on the seed and the epoch alone, so every way of feeding takes
    the same steps. With several seeds, networks are trained beside each other in one program: what
    `epoch` takes and gives has an axis of seeds in front, and all else is of one network.

    Args:
        steps: the pure steps.
        train: the training images.
        batch_size: images in a step, over all devices; the rest of an epoch is left out.
        seeds: of order, augmentation and dropout, one for each network.
        preprocess: what is done to stored images on the host, before they reach the steps.
        parallel: one device or several.
        loop: ``scan`` for one dispatch an epoch, ``step`` for one each step, or ``auto``.
        memory: ``device``, ``host`` or ``auto``. Images that are on the disk (`ImagesOnDisk`) are
            read ahead of the steps.
        workers: processes that read them; 0 for threads of this one.
    """

    def __init__(
        self,
        steps: Steps,
        train: Split,
        *,
        batch_size: int,
        seeds: Sequence[int],
        preprocess: Callable[[np.ndarray], np.ndarray] | None = None,
        parallel: Parallel,
        loop: Literal["auto", "scan", "step"] = "auto",
        memory: Literal["auto", "device", "host"] = "auto",
        workers: int = 0,
    ):
        self.preprocess = preprocess or (lambda image: image)
        self.workers = workers
        train = Split(self.preprocess(train.image), train.label)
        self.train, self.batch_size, self.parallel = train, batch_size, parallel
        self.steps_per_epoch = len(train.label) // batch_size
        self.seeds = tuple(seeds)
        keys = jnp.stack([jax.random.split(jax.random.key(seed), 3) for seed in self.seeds])
        self._calibration_keys = keys[:, 2]
        if not self._several:
            keys = keys[0]
        self._train_key, self._order_key = keys[..., 0], keys[..., 1]
        if memory == "auto":
            small = train.image.nbytes <= RESIDENT_BYTES and not isinstance(
                train.image, ImagesOnDisk
            )
            memory = "device" if small else "host"
        if loop == "auto":
            # XLA:CPU compiles convolutions inside loops to slow single-threaded code.
            on_cpu = jax.default_backend() == "cpu"
            loop = "step" if on_cpu or memory == "host" else "scan"
        if memory == "host" and loop == "scan":
            raise ValueError(
                "`loop` scan needs the images in device memory: use --memory device, or --loop step"
            )
        self.memory, self.loop = memory, loop

        compile_ = parallel.compile
        train_step = self._over_seeds(steps.train, (0, 0, 0))
        self._train_step = compile_(train_step, sharded=(False, True, False), donate=True)
        self._evaluate = compile_(steps.evaluate, sharded=(False, False, True, True))
        self._batch_stats = compile_(steps.batch_stats, sharded=(False, False, True, False))
        self._logits = jax.jit(steps.logits)
        if memory == "device":
            self._data = parallel.replicate(Batch(*train))

            def gather_one(state, data, index, key):
                return steps.train(state, jax.tree.map(lambda a: a[index], data), key)

            gather_step = self._over_seeds(gather_one, (0, None, 0, 0))

            def epoch(state, data, number, key, place):
                order = self._order(number)
                order = order.reshape(*order.shape[:-1], parallel.devices, -1)[..., place[0], :]
                return lax.scan(lambda s, index: gather_step(s, data, index, key), state, order)

            sharded = (False, True, True, False)
            self._gather_step = compile_(gather_step, sharded=sharded, donate=True)
            sharded = (False, True, False, False, True)
            self._epoch = compile_(epoch, sharded=sharded, donate=True)

    def epoch(
        self, state: TrainState, epoch: int, first: int = 0
    ) -> Iterator[tuple[TrainState, Metrics]]:
        """Train for one epoch, or from its step ``first`` on; yields the state and metrics ``[k]``,
        or ``[k, seeds]``, after every k steps that are dispatched together. The state passed in
        must not be used again."""
        if self.loop == "scan":
            if first:
                raise ValueError(f"`loop` scan takes whole epochs, not one from step {first} on")
            place = self.parallel.shard(np.arange(self.parallel.devices))
            yield self._epoch(state, self._data, epoch, self._train_key, place)
            return
        rows, axis = np.asarray(self._order(epoch))[first:], int(self._several)
        if not len(rows):
            return
        if self.memory == "device":
            for index in rows:
                index = self.parallel.shard(index, axis)
                state, metrics = self._gather_step(state, self._data, index, self._train_key)
                yield state, jax.tree.map(lambda m: m[None], metrics)
            return
        for batch in self._batches(self.train, rows, axis):
            state, metrics = self._train_step(state, batch, self._train_key)
            yield state, jax.tree.map(lambda m: m[None], metrics)

    def join(self, states: Sequence[TrainState]) -> TrainState:
        """The state of all seeds from those of each."""
        if not self._several:
            return states[0]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)

    def split(self, state: TrainState) -> list[TrainState]:
        """The inverse of `join`."""
        if not self._several:
            return [state]
        return [jax.tree.map(lambda a, i=i: a[i], state) for i in range(len(self.seeds))]

    def calibrate(self, state: TrainState, which: int = 0, title: str | None = None) -> TrainState:
        """The state of the seed number ``which`` with batch statistics that are the plain average
        over the training images, as in the published protocol, instead of a running average; with
        a title, behind a progress bar."""
        if not jax.tree.leaves(state.stats):  # a network without batch normalisation
            return state
        total = None
        rows = np.arange(self.steps_per_epoch * self.batch_size).reshape(-1, self.batch_size)
        batches = _shown(self._batches(self.train, rows), len(rows), title)
        for i, batch in enumerate(batches):
            key = jax.random.fold_in(self._calibration_keys[which], i)
            stats = self._batch_stats(state.weights, state.stats, batch.image, key)
            total = stats if total is None else jax.tree.map(jnp.add, total, stats)
        stats = jax.tree.map(lambda s: s / self.steps_per_epoch, total)
        return dataclasses.replace(state, stats=stats)

    def evaluate(
        self, state: TrainState, split: Split, title: str | None = None
    ) -> dict[str, float]:
        """Mean loss and error (a fraction) over a split; with a title, behind a progress bar."""
        sums = None
        rows, weights = self._rows(len(split.label), self.batch_size)
        batches = self._batches(split, rows, preprocess=self.preprocess)
        for batch, weight in _shown(zip(batches, weights, strict=True), len(rows), title):
            weight = self.parallel.shard(weight)
            part = self._evaluate(state.weights, state.stats, batch, weight)
            sums = part if sums is None else jax.tree.map(jnp.add, sums, part)
        return {k: float(v) / len(split.label) for k, v in sums._asdict().items()}

    def logits(
        self, state: TrainState, image: np.ndarray, *, preprocessed: bool = False
    ) -> np.ndarray:
        """Logits of stored images, or of ``preprocessed`` ones, ``[N, classes]``, on one device."""
        image = image if preprocessed else self.preprocess(image)
        rows, _ = self._rows(len(image), self.logits_batch)
        parts = [self._logits(state.weights, state.stats, image[row]) for row in rows]
        return np.concatenate([np.asarray(p) for p in parts])[: len(image)]

    @property
    def logits_batch(self) -> int:
        """The number of images for which `logits` is compiled."""
        return min(self.batch_size, LOGITS_BATCH)

    @property
    def _several(self) -> bool:
        return len(self.seeds) > 1

    def _over_seeds(self, function: Callable, axes: tuple[int | None, ...]) -> Callable:
        return jax.vmap(function, axes) if self._several else function

    def _order(self, epoch: int | jax.Array) -> jax.Array:
        """Return the images that the steps of an epoch see: ``[steps, batch]``, or ``[steps, seeds,
        batch]``; the same on every path."""

        def of_seed(key):
            key = jax.random.fold_in(key, epoch)
            order = jax.random.permutation(key, len(self.train.label))
            return order[: self.steps_per_epoch * self.batch_size].reshape(-1, self.batch_size)

        if self._several:
            return jax.vmap(of_seed, out_axes=1)(self._order_key)
        return of_seed(self._order_key)

    def _batches(
        self,
        split: Split,
        rows: np.ndarray,
        axis: int = 0,
        preprocess: Callable[[np.ndarray], np.ndarray] = lambda image: image,
    ) -> Iterator[Batch]:
        """The images with the indices in each of the ``rows``, cut along ``axis`` for devices."""
        rows = np.stack([self.parallel.own(row, axis) for row in rows])
        labels = (self.parallel.put(split.label[row]) for row in rows)
        if isinstance(split.image, ImagesOnDisk):
            images = read_ahead(split.image, rows, self.parallel.put_early, self.workers)
        else:
            stored = split.image

            def of_row(row: np.ndarray) -> np.ndarray:
                image = preprocess(stored[row.ravel()])
                return image.reshape(*row.shape, *image.shape[1:])

            images = (self.parallel.put(of_row(row)) for row in rows)
        for image, label in zip(images, labels, strict=True):
            yield Batch(image, label)

    def _rows(self, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices below ``count`` in rows of one size, and what each weighs: the last row is filled
        with images that weigh nothing."""
        index = np.arange(math.ceil(count / size) * size)
        rows = np.minimum(index, count - 1).reshape(-1, size)
        return rows, (index < count).astype(np.float32).reshape(rows.shape)


def _shown(batches: Iterable, count: int, title: str | None) -> Iterable:
    """The batches, behind a progress bar if they have a title and the output is a terminal."""
    disable = True if title is None else None
    return tqdm(batches, title, count, unit="batch", disable=disable, leave=False)
