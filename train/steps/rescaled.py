"""A network that predicts numbers in their own units."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gconv_jax.models import RescaledOutputs
from gconv_jax.nnx import Canonicalized, Symmetrized


class Rescaled(nnx.Module):
    """A network whose outputs are numbers in their own units: ``mean + std * model(x)``.

    It is a `gconv_jax.models.RescaledOutputs` whose numbers are read with the parameters of a run.
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


def with_fixed_numbers(model: nnx.Module) -> nnx.Module:
    """Return a network of a run with a `RescaledOutputs` in place of a `Rescaled`, which may be
    behind a `Symmetrized` or a `Canonicalized`: its arguments have the numbers."""
    if isinstance(model, Symmetrized):
        return Symmetrized(with_fixed_numbers(model.model), group=model.group)  # pyright: ignore[reportArgumentType]
    if isinstance(model, Canonicalized):
        return Canonicalized(with_fixed_numbers(model.model), model.by, group=model.group)  # pyright: ignore[reportArgumentType]
    if not isinstance(model, Rescaled):
        return model
    mean, std = (np.asarray(n[...]).tolist() for n in (model.mean, model.std))
    return RescaledOutputs(model.model, mean=mean, std=std)  # pyright: ignore[reportArgumentType]
