"""The losses of images with several labels: a decision for each class, yes or no."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax


def binary_cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """Return the mean over the classes of ``-log p`` of the right decision, for each image.

    Args:
        logits: ``[N, classes]``; the probability of a label is its sigmoid.
        label: 0 or 1, ``[N, classes]``.
    """
    return optax.sigmoid_binary_cross_entropy(logits.astype(jnp.float32), label).mean(-1)


def binary_focal_terms(
    logits: jax.Array, label: jax.Array, *, gamma: float, smoothing: float = 0.0
) -> jax.Array:
    """Return the focal loss of each decision, ``[N, classes]``.

    It is ``-q (1 - p)^gamma log p - (1 - q) p^gamma log(1 - p)`` for ``p = sigmoid(logits)`` and
    the target ``q = (1 - smoothing) label + smoothing / 2``: that of `train.steps.loss.focal_loss`
    with the two classes yes and no. With ``gamma`` 0 it is the cross-entropy.
    """
    logits = logits.astype(jnp.float32)
    yes, no = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    target = (1 - smoothing) * label + smoothing / 2
    # Powers of 1 - p as exponentials of its logarithm, whose derivative is finite everywhere.
    return -(target * jnp.exp(gamma * no) * yes + (1 - target) * jnp.exp(gamma * yes) * no)


def make_label_loss(
    gamma: float, smoothing: float, weights: np.ndarray | None
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Return the loss of each image.

    Args:
        gamma: the exponent of the focal loss; 0 for the cross-entropy.
        smoothing: the share of a target that both answers have equally.
        weights: those of the answers no and yes to each class, ``[2, classes]``; None for none.
    """
    if weights is None and not gamma and not smoothing:
        return binary_cross_entropy

    def loss(logits: jax.Array, label: jax.Array) -> jax.Array:
        terms = binary_focal_terms(logits, label, gamma=gamma, smoothing=smoothing)
        if weights is not None:
            terms *= jnp.where(label > 0, weights[1], weights[0])
        return terms.mean(-1)

    return loss
