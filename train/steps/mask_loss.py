"""The losses of masks: of each image, from the logits and the class of each of its pixels."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ..data.mask_classes import IGNORED

OfPixels = Callable[[jax.Array, jax.Array], jax.Array]
"""A function of logits ``[..., classes]`` and classes ``[...]`` to the loss of each pixel."""


def mask_loss(of_pixels: OfPixels, weights: np.ndarray | None = None, *, dice: bool = False):
    """Return the loss of each image: the mean over its pixels that have a class.

    Args:
        of_pixels: the loss of a pixel.
        weights: those of the classes, ``[classes]``; None for none.
        dice: whether `dice_loss` is added.

    Returns:
        A function of logits ``[N, *spatial, classes]`` and masks ``[N, *spatial]``.
    """

    def loss(logits: jax.Array, mask: jax.Array) -> jax.Array:
        known = mask != IGNORED
        label = jnp.where(known, mask, 0).astype(jnp.int32)
        terms = of_pixels(logits, label) * known
        if weights is not None:
            terms *= jnp.asarray(weights)[label]
        axes = tuple(range(1, mask.ndim))
        found = terms.sum(axes) / jnp.maximum(known.sum(axes), 1)
        return found + dice_loss(logits, mask) if dice else found

    return loss


def dice_loss(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """Return ``1 - D`` of each image, D the soft Dice overlap, mean over the classes in its mask.

    ``D[c] = 2 sum_i p[i, c] t[i, c] / (sum_i p[i, c] + sum_i t[i, c])`` over the pixels i that have
    a class, with the probabilities p and ``t`` 1 where c is the class (Milletari et al. 2016,
    arXiv:1606.04797). Classes that are not in a mask have no part: where most are in few masks,
    they would make it best to say none of them anywhere. 0 for an image without a class.

    Args:
        logits: ``[N, *spatial, classes]``.
        mask: the class of each pixel, or `IGNORED`, ``[N, *spatial]``.
    """
    classes, known = logits.shape[-1], (mask != IGNORED)[..., None]
    p = jax.nn.softmax(logits.astype(jnp.float32)) * known
    t = jax.nn.one_hot(mask, classes) * known
    axes = tuple(range(1, mask.ndim))
    overlap, true = (p * t).sum(axes), t.sum(axes)
    missed = jnp.where(true > 0, 1 - 2 * overlap / jnp.maximum(p.sum(axes) + true, 1), 0)
    return missed.sum(-1) / jnp.maximum((true > 0).sum(-1), 1)


def balanced_pixels(mask: np.ndarray, classes: int) -> np.ndarray:
    """Return the weight of each class, inversely proportional to its number of pixels: ``N / (K
    n[c])`` for N pixels, K classes that have some, and ``n[c]`` of class c; 0 for a class without.

    >>> balanced_pixels(np.array([[[0, 0], [0, 1]]]), 2).tolist()
    [0.6666666865348816, 2.0]
    """
    counts = np.bincount(mask[mask != IGNORED].ravel(), minlength=classes).astype(np.float64)
    present = np.count_nonzero(counts)
    shares = np.divide(counts.sum(), present * counts, out=np.zeros(classes), where=counts > 0)
    return shares.astype(np.float32)


def mask_counts(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """Return how many pixels of each class are said to be of which, ``[N, classes, classes]``:
    rows are the classes of the mask, columns those with the largest logits.

    >>> logits = jnp.array([[[[0.0, 1.0], [1.0, 0.0]]]])
    >>> mask_counts(logits, jnp.array([[[1, 1]]])).tolist()
    [[[0, 0], [1, 1]]]
    """
    classes = logits.shape[-1]

    def of_image(said: jax.Array, true: jax.Array) -> jax.Array:
        # Ignored pixels are counted behind the end, where nothing is.
        place = jnp.where(true == IGNORED, classes**2, true.astype(jnp.int32) * classes + said)
        counts = jnp.zeros(classes**2, jnp.int32).at[place.ravel()].add(1, mode="drop")
        return counts.reshape(classes, classes)

    return jax.vmap(of_image)(logits.argmax(-1), mask)


def wrong_pixels(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """Return the share of the pixels of each image that are said to be of another class, ``[N]``;
    pixels without a class do not count."""
    axes = tuple(range(1, mask.ndim))
    known = mask != IGNORED
    wrong = (logits.argmax(-1) != mask) & known
    return wrong.sum(axes) / jnp.maximum(known.sum(axes), 1)
