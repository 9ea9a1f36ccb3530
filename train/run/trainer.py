"""The trainer: it feeds the compiled steps, from device memory or from the host."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ..data.on_disk import ImagesOnDisk
from ..data.splits import Split
from ..progress import shown
from ..steps.parallel import Parallel
from ..steps.step import Batch, Metrics, Steps, TrainState
from .batches import batches
from .compiled_steps import CompiledSteps
from .order import balanced_order, epoch_order, filled_rows

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
        sampling: ``plain`` for each image once in an epoch, ``balanced`` for each class as often.
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
        sampling: Literal["plain", "balanced"] = "plain",
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
        self._train_key = keys[..., 0]
        self.sampling = sampling
        size = {"steps": self.steps_per_epoch, "batch": batch_size}
        self._balanced_order = partial(balanced_order, label=train.label, **size)
        if sampling == "balanced":
            self._order = partial(self._balanced_order, keys[..., 1])
        else:
            self._order = partial(epoch_order, keys[..., 1], images=len(train.label), **size)
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

        self._steps = steps
        self._compiled = CompiledSteps(steps, parallel, several=self._several, order=self._order)
        if memory == "device":
            self._data = parallel.replicate(Batch(*train))

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
            yield self._compiled.epoch(state, self._data, epoch, self._train_key, place)
            return
        rows, axis = np.asarray(self._order(epoch))[first:], int(self._several)
        if not len(rows):
            return
        if self.memory == "device":
            for index in rows:
                index = self.parallel.shard(index, axis)
                state, metrics = self._compiled.gather(state, self._data, index, self._train_key)
                yield state, jax.tree.map(lambda m: m[None], metrics)
            return
        fed = batches(self.train, rows, self.parallel, axis=axis, workers=self.workers)
        for batch in fed:
            state, metrics = self._compiled.train(state, batch, self._train_key)
            yield state, jax.tree.map(lambda m: m[None], metrics)

    def join(self, states: Sequence[TrainState]) -> TrainState:
        """Return the state of all seeds, joined from those of each."""
        if not self._several:
            return states[0]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)

    def split(self, state: TrainState) -> list[TrainState]:
        """Return the state of each seed: the inverse of `join`."""
        if not self._several:
            return [state]
        return [jax.tree.map(lambda a, i=i: a[i], state) for i in range(len(self.seeds))]

    def calibrate(self, state: TrainState, which: int = 0, title: str | None = None) -> TrainState:
        """Return the state of the seed number ``which`` with batch statistics that are the plain
        average over the training images, as in the published protocol, instead of a running
        average; with a title, behind a progress bar.

        With balanced sampling they are those of images that are drawn so: a network that was
        trained in batches of equal classes is another one with statistics of unequal ones."""
        if not jax.tree.leaves(state.stats):  # a network without batch normalization
            return state
        total = None
        if self.sampling == "balanced":
            rows = np.asarray(self._balanced_order(self._calibration_keys[which], 0))
        else:
            rows = np.arange(self.steps_per_epoch * self.batch_size).reshape(-1, self.batch_size)
        fed = batches(self.train, rows, self.parallel, workers=self.workers)
        for i, batch in enumerate(shown(fed, len(rows), title)):
            key = jax.random.fold_in(self._calibration_keys[which], i)
            stats = self._compiled.batch_stats(state.weights, state.stats, batch.image, key)
            total = stats if total is None else jax.tree.map(jnp.add, total, stats)
        # Other variables of a model of the user's own, such as counters, stay as they are.
        mean, _ = nnx.split_state(total, nnx.BatchStat, ...)  # pyright: ignore[reportCallIssue]
        _, others = nnx.split_state(state.stats, nnx.BatchStat, ...)
        mean = jax.tree.map(lambda s: s / self.steps_per_epoch, mean)
        stats = self._steps.keep_frozen(state.stats, nnx.merge_state(mean, others))
        return dataclasses.replace(state, stats=stats)

    def evaluate(
        self, state: TrainState, split: Split, title: str | None = None
    ) -> dict[str, float]:
        """Return mean loss and error (a fraction) over a split, behind a bar with a title."""
        return self.evaluate_with_logits(state, split, title)[0]

    def evaluate_with_logits(
        self, state: TrainState, split: Split, title: str | None = None
    ) -> tuple[dict[str, float], np.ndarray]:
        """Return the figures of `evaluate`, and the logits ``[N, classes]`` of all images, or what
        else figures are made of (`Task.measured`)."""
        sums, every = None, []
        rows, weights = filled_rows(len(split.label), self.batch_size)
        fed = batches(split, rows, self.parallel, preprocess=self.preprocess, workers=self.workers)
        for batch, weight in shown(zip(fed, weights, strict=True), len(rows), title):
            weight = self.parallel.shard(weight)
            part, logits = self._compiled.evaluate(state.weights, state.stats, batch, weight)
            sums = part if sums is None else jax.tree.map(jnp.add, sums, part)
            every.append(logits)
        figures = {k: float(v) / len(split.label) for k, v in sums._asdict().items()}
        return figures, np.concatenate([np.asarray(a) for a in every])[: len(split.label)]

    def logits(
        self, state: TrainState, image: np.ndarray, *, preprocessed: bool = False
    ) -> np.ndarray:
        """Return logits ``[N, classes]``, or those of pixels, of stored or ``preprocessed`` images,
        on one device."""
        image = image if preprocessed else self.preprocess(image)
        rows, _ = filled_rows(len(image), self.logits_batch)
        parts = [self._compiled.logits(state.weights, state.stats, image[row]) for row in rows]
        return np.concatenate([np.asarray(p) for p in parts])[: len(image)]

    @property
    def logits_batch(self) -> int:
        """The number of images for which `logits` is compiled."""
        return min(self.batch_size, LOGITS_BATCH)

    @property
    def _several(self) -> bool:
        return len(self.seeds) > 1
