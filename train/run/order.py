"""The order of an epoch: pure functions of keys and numbers, the same on every path."""

import math

import jax
import numpy as np


def epoch_order(
    keys: jax.Array, epoch: int | jax.Array, *, images: int, steps: int, batch: int
) -> jax.Array:
    """Return the places of the images that the steps of an epoch see.

    Args:
        keys: one key, or one for each seed.
        epoch: the number of the epoch.
        images: the number of training images.
        steps: the number of steps of an epoch.
        batch: the images of a step.

    Returns:
        ``[steps, batch]``, or ``[steps, seeds, batch]`` with several keys.
    """

    def shuffled(key):
        order = jax.random.permutation(jax.random.fold_in(key, epoch), images)
        return order[: steps * batch].reshape(-1, batch)

    return jax.vmap(shuffled, out_axes=1)(keys) if keys.ndim else shuffled(keys)


def filled_rows(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the places below ``count`` in rows of one size, and the weight of each: the last row
    is filled with images that weigh nothing.

    >>> rows, weights = filled_rows(3, 2)
    >>> rows.tolist(), weights.tolist()
    ([[0, 1], [2, 2]], [[1.0, 1.0], [1.0, 0.0]])
    """
    places = np.arange(math.ceil(count / size) * size)
    rows = np.minimum(places, count - 1).reshape(-1, size)
    return rows, (places < count).astype(np.float32).reshape(rows.shape)
