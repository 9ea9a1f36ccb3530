"""The compiled steps of a trainer: for one seed or several, fed in the ways that it has."""

from collections.abc import Callable

import jax
from jax import lax

from ..steps.parallel import Parallel
from ..steps.step import Steps


class CompiledSteps:
    """The steps of a model, compiled when they are first called.

    Args:
        steps: the pure steps.
        parallel: one device or several.
        several: more than one seed: the state, images and keys have an axis of seeds in front.
        order: the function from the number of an epoch to the places of its images.
    """

    def __init__(self, steps: Steps, parallel: Parallel, *, several: bool, order: Callable):
        def over_seeds(function: Callable, axes: tuple[int | None, ...]) -> Callable:
            return jax.vmap(function, axes) if several else function

        def gather_one(state, data, index, key):
            return steps.train(state, jax.tree.map(lambda a: a[index], data), key)

        gather_step = over_seeds(gather_one, (0, None, 0, 0))

        def epoch(state, data, number, key, place):
            rows = order(number)
            rows = rows.reshape(*rows.shape[:-1], parallel.devices, -1)[..., place[0], :]
            return lax.scan(lambda s, index: gather_step(s, data, index, key), state, rows)

        compile_ = parallel.compile
        self.train = compile_(
            over_seeds(steps.train, (0, 0, 0)), sharded=(False, True, False), donate=True
        )
        """A step on a batch: ``(state, batch, key)``."""
        self.gather = compile_(gather_step, sharded=(False, True, True, False), donate=True)
        """A step on images that are on the device: ``(state, data, places, key)``."""
        self.epoch = compile_(epoch, sharded=(False, True, False, False, True), donate=True)
        """A whole epoch on them: ``(state, data, number, key, place of the device)``."""
        self.evaluate = compile_(steps.evaluate, sharded=(False, False, True, True))
        self.batch_stats = compile_(steps.batch_stats, sharded=(False, False, True, False))
        self.logits: Callable = jax.jit(steps.logits)
