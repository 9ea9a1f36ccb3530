"""A network that predicts numbers in their own units."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


class Rescaled(nnx.Module):
    """A network whose outputs are numbers in their own units: ``mean + std * model(x)``.

    The model itself begins with outputs around the mean of the training images, and its
    parameters have the usual sizes whatever the units are. Mean and standard deviation are
    variables beside the parameters, and are never trained.

    Args:
        model: a network from images to outputs ``[N, targets]``.
        mean: the mean of each target over the training images; 0 if it is loaded afterwards.
        std: their standard deviations.
    """

    def __init__(self, model: nnx.Module, mean: np.ndarray, std: np.ndarray):
        self.model = model
        self.mean = nnx.Variable(jnp.asarray(mean, jnp.float32))
        self.std = nnx.Variable(jnp.asarray(std, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.model(x).astype(jnp.float32)  # pyright: ignore[reportCallIssue]
        return self.mean[...] + self.std[...] * y
