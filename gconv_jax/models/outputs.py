"""Networks whose outputs are numbers in their own units, for regression."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gconv_jax.models._network import Network
from gconv_jax.models.inputs import Numbers, finite_numbers


class RescaledOutputs(Network):
    """A network of standardized numbers, as one of numbers in their own units:
    ``mean + std * model(x)``.

    It is what a network for regression is saved as, with the numbers that its targets had.

    Args:
        model: the network, from images to outputs ``[N, targets]``.
        mean, std: the numbers that the targets had in training: one for all, or one for each.

    Raises:
        ValueError: ``std`` is not positive.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax.models import LeNet, RescaledOutputs
    >>> ages = RescaledOutputs(LeNet(classes=1, rngs=nnx.Rngs(0)), mean=40.0, std=12.0)
    >>> ages.eval()
    >>> x = jnp.ones((2, 28, 28, 1))
    >>> bool(jnp.allclose(ages(x), 40 + 12 * ages.model(x)))
    True
    """

    model: Any

    def __init__(self, model: Callable[..., Any], *, mean: Numbers = 0.0, std: Numbers = 1.0):
        self.model = model
        self.mean, self.std = (finite_numbers(*pair) for pair in (("mean", mean), ("std", std)))
        if np.min(self.std) <= 0:
            raise ValueError(f"`std` must be positive, got {std}")

    def __call__(self, x: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
        """Return numbers ``[N, targets]``, float32."""
        mean, std = (np.asarray(n, np.float32) for n in (self.mean, self.std))
        return mean + std * self.model(x, *args, **kwargs).astype(jnp.float32)

    def feature_maps(self, x: jax.Array, *args: Any, **kwargs: Any) -> Any:
        """Return the feature maps of the model."""
        return self.model.feature_maps(x, *args, **kwargs)

    def features(self, x: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
        """Return the features of the model."""
        return self.model.features(x, *args, **kwargs)
