"""The order of an epoch: pure functions of keys and numbers, the same on every path."""

import math

import jax
import jax.numpy as jnp
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


def balanced_order(
    keys: jax.Array, epoch: int | jax.Array, *, label: np.ndarray, steps: int, batch: int
) -> jax.Array:
    """Return places as `epoch_order` does, those of each class equally often, or once more.

    The images of a class are shuffled and taken in turn; once all were taken, they are shuffled
    again. So within an epoch no image comes twice more often than another of its class, and of a
    class with more images than it gets places, other images come in each epoch.

    Args:
        keys: one key, or one for each seed.
        epoch: the number of the epoch.
        label: the labels of the training images.
        steps: the number of steps of an epoch.
        batch: the images of a step.
    """
    places = steps * batch
    classes, count = np.unique(label, return_counts=True)
    each = -(-places // len(classes))  # for the classes that get one more place than others
    by_class = np.argsort(label, kind="stable")
    rounds = -(-each // count)
    # An entry for each image in each round of its class, in the order of classes and rounds.
    starts = np.cumsum(count) - count
    image = np.concatenate(
        [
            np.tile(by_class[start : start + size], times)
            for start, size, times in zip(starts, count, rounds, strict=True)
        ]
    ).astype(np.int32)
    turn = np.repeat(np.arange(rounds.sum(), dtype=np.int32), np.repeat(count, rounds))
    first = np.cumsum(rounds * count) - rounds * count
    taken = first[:, None] + np.arange(each)

    def shuffled(key):
        within, last, over_all = jax.random.split(jax.random.fold_in(key, epoch), 3)
        random = jax.random.bits(within, (len(image),))
        rows = jnp.asarray(image)[jnp.lexsort((random, jnp.asarray(turn)))][taken].T
        # The classes that get one more place are others in each epoch.
        order = jax.random.permutation(last, len(classes))
        rows = rows.at[-1].set(rows[-1, order])
        return jax.random.permutation(over_all, rows.ravel()[:places]).reshape(-1, batch)

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
