"""The losses of numbers: of each image, relative to the deviations of the targets."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax


def number_loss(
    scale: np.ndarray, kind: str = "squared"
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Return the loss of each image, the mean of ``l((y[k] - t[k]) / s[k])`` over the targets.

    Args:
        scale: the standard deviations s of the targets over the training images, ``[targets]``.
        kind: ``"squared"`` for ``l(e) = e^2``; ``"huber"`` for ``e^2 / 2`` up to ``|e| = 1``, and
            ``|e| - 1/2`` from there on, so that images with wrong numbers count less.
    """

    def loss(values: jax.Array, label: jax.Array) -> jax.Array:
        errors = (values.astype(jnp.float32) - label) / scale
        of_target = optax.huber_loss(errors, delta=1.0) if kind == "huber" else jnp.square(errors)
        return of_target.mean(-1)

    return loss
