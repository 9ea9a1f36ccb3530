"""Networks with the preparation of pixels in front: they take images as they are stored."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gconv_jax.models._network import Network
from gconv_jax.ops.arguments import check_integer

Numbers = float | Sequence[float]


class _OfStoredPixels(Network):
    """A network behind a preparation of its images, ``_prepared``."""

    model: Any

    def __call__(self, x: jax.Array, *args: Any, **kwargs: Any) -> Any:
        """Return what the model does of images ``[N, *spatial, C]``."""
        return self.model(self._prepared(x), *args, **kwargs)

    def feature_maps(self, x: jax.Array, *args: Any, **kwargs: Any) -> Any:
        """Return the feature maps of the model, of images ``[N, *spatial, C]``."""
        return self.model.feature_maps(self._prepared(x), *args, **kwargs)

    def features(self, x: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
        """Return the features of the model, of images ``[N, *spatial, C]``."""
        return self.model.features(self._prepared(x), *args, **kwargs)

    def _prepared(self, x: jax.Array) -> jax.Array:
        raise NotImplementedError


class Standardized(_OfStoredPixels):
    """A network of standardized pixels, as one of stored pixels: ``model((x - mean) / std)``.

    Its input are pixels in [0, 1], or uint8 from 0 to 255, which are divided by 255 before.

    Args:
        model: the network, a module of batches of images.
        mean, std: the numbers that training images had: one, or one for each channel. One for each
            pixel would break the equivariance.

    Raises:
        ValueError: ``std`` is not positive.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax.models import Standardized, Z2CNN
    >>> model = Standardized(Z2CNN(rngs=nnx.Rngs(0)), mean=0.1, std=0.3)
    >>> model.eval()
    >>> stored = jnp.full((2, 28, 28, 1), 51, jnp.uint8)
    >>> bool(jnp.allclose(model(stored), model(jnp.full((2, 28, 28, 1), 0.2)), atol=1e-6))
    True
    """

    def __init__(self, model: Callable[..., Any], *, mean: Numbers = 0.0, std: Numbers = 1.0):
        self.model = model
        self.mean, self.std = finite_numbers("mean", mean), finite_numbers("std", std)
        if np.min(self.std) <= 0:
            raise ValueError(f"`std` must be positive, got {std}")

    def _prepared(self, x: jax.Array) -> jax.Array:
        mean, std = (np.asarray(n, np.float32) for n in (self.mean, self.std))
        return (to_unit(x) - mean) / std


class Whitened(_OfStoredPixels):
    """A network of whitened pixels, as one of stored pixels.

    Each image is normalized to mean 0 and standard deviation 1 over all its pixels and channels.
    Then ``(x - mean) matrix`` of all numbers of an image in one row is what the model is given
    (Goodfellow et al. 2013, arXiv:1302.4389). Its input are pixels in any range.

    Args:
        model: the network, a module of batches of images.
        image_shape: ``(*spatial, C)`` of the images.

    Attributes:
        mean, matrix: what whitens, ``[P]`` and ``[P, P]`` for P numbers in an image; at first 0 and
            the identity. They are variables, and no parameters.

    Raises:
        ValueError: images of another shape.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax.models import LeNet, Whitened
    >>> model = Whitened(LeNet(rngs=nnx.Rngs(0)), image_shape=(28, 28, 1))
    >>> model(jnp.ones((2, 28, 28, 1))).shape
    (2, 10)
    """

    def __init__(self, model: Callable[..., Any], *, image_shape: Sequence[int]):
        self.model = model
        self.image_shape = tuple(check_integer("image_shape", n, least=1) for n in image_shape)
        size = int(np.prod(self.image_shape))
        self.mean = nnx.Variable(jnp.zeros(size, jnp.float32))
        self.matrix = nnx.Variable(jnp.eye(size, dtype=jnp.float32))

    def _prepared(self, x: jax.Array) -> jax.Array:
        x = jnp.asarray(x)
        if x.shape[1:] != self.image_shape:
            sides = ", ".join(map(str, self.image_shape))
            raise ValueError(f"`x` must be images [N, {sides}], got shape {x.shape}")
        rows = x.reshape(x.shape[0], -1).astype(jnp.float32)
        rows = rows - rows.mean(1, keepdims=True)
        deviation = rows.std(1, ddof=1, keepdims=True)
        rows = rows / jnp.where(deviation > 0, deviation, 1) - self.mean[...]
        white = jnp.dot(rows, self.matrix[...], precision="highest")
        return white.reshape(x.shape)


def to_unit(x: jax.Array) -> jax.Array:
    """Return pixels as float32: bytes divided by 255, and other numbers as they are."""
    x = jnp.asarray(x)
    unit = x.astype(jnp.float32)
    return unit / 255 if x.dtype == jnp.uint8 else unit


def finite_numbers(name: str, value: Numbers) -> float | tuple[float, ...]:
    """Return a finite number, or a tuple of some."""
    found = np.asarray(value)
    numbers = jnp.issubdtype(found.dtype, jnp.number) and found.size and found.ndim <= 1
    if not numbers or not np.isfinite(found := found.astype(np.float64)).all():
        raise ValueError(
            f"`{name}` must be a finite number, or one for each channel or output, got {value}"
        )
    return tuple(found.tolist()) if found.ndim else found.item()
