"""Features on sampled elements of a group, which go with them; pooling and normalization."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.groups.lie import LieGroup, PlanarGroup, check_planar_group
from gconv_jax.ops.channels import merge_channels
from gconv_jax.ops.maximum import max_over


class Elements(NamedTuple):
    """Sampled elements of a group of the plane."""

    matrices: jax.Array
    """``[S, 2, 2]``, as in `FiniteGroup.matrices`."""
    weights: jax.Array
    """``[S]``: 1 for an element that is there, 0 for one that is left out."""


class SampledFeatures(NamedTuple):
    """A feature map on sampled elements of a group: ``values[..., s, :]`` is at element s."""

    values: jax.Array
    """``[*batch, H, W, S, C]``."""
    elements: Elements

    def map(self, fn: Callable[[jax.Array], jax.Array]) -> "SampledFeatures":
        """``fn`` of the values, e.g. ``features.map(nnx.relu)``."""
        return self._replace(values=fn(self.values))

    def map_images(self, fn: Callable[[jax.Array], jax.Array]) -> "SampledFeatures":
        """``fn`` of the values as images ``[*batch, H, W, S C]``, for what acts on space: e.g.
        ``functools.partial(max_pool, group=P4, window_shape=2, lifted=False)``."""
        y = fn(merge_channels(self.values))
        return self._replace(values=y.reshape(*y.shape[:-1], *self.values.shape[-2:]))

    @property
    def mask(self) -> jax.Array:
        """True for elements that are kept, ``[S, 1]``: the ``mask`` of Flax's normalizations."""
        return (self.elements.weights > 0.5)[:, None]


def all_elements(group: PlanarGroup, samples: int | None = None) -> Elements:
    """The elements of a finite group, or the even grid of so many elements of a continuous one:
    deterministic, and closed under turning by its own elements.

    >>> from gconv_jax import SO2, all_elements
    >>> all_elements(SO2(), 8).matrices.shape
    (8, 2, 2)
    """
    count = check_samples(group, samples)
    matrices = group.grid(count) if isinstance(group, LieGroup) else group.matrices
    matrices = jnp.asarray(matrices, float)
    return Elements(matrices, jnp.ones(len(matrices), matrices.dtype))


def sample_elements(key: jax.Array, group: PlanarGroup, samples: int | None = None) -> Elements:
    """The same turned by one random angle (`LieGroup.stratified`), so that each element is Haar
    distributed; a finite group has nothing to sample."""
    elements = all_elements(group, samples)
    if isinstance(group, FiniteGroup):
        return elements
    return elements._replace(matrices=group.stratified(key, len(elements.weights)))


def check_samples(group: PlanarGroup, samples: int | None) -> int:
    """The number of elements; ValueError unless ``samples`` is one that goes with the group."""
    check_planar_group(group)
    if isinstance(group, LieGroup):
        if samples is None:
            raise ValueError(f"`samples` must be given for {group!r}, e.g. samples=8")
        return group.finite(samples).order
    if samples not in (None, group.order):
        raise ValueError(
            f"`samples` must be left out for {group!r}, all of whose {group.order} elements are "
            f"taken; got {samples!r}"
        )
    return group.order


def sampled_pool(x: SampledFeatures, *, reduce: Literal["max", "mean"] = "max") -> jax.Array:
    """Pool over the elements that are there: ``[..., S, C]`` to ``[..., C]``.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import Elements, SampledFeatures, sampled_pool
    >>> elements = Elements(jnp.stack([jnp.eye(2)] * 3), jnp.array([1.0, 1.0, 0.0]))
    >>> sampled_pool(SampledFeatures(jnp.array([[1.0], [3.0], [9.0]]), elements), reduce="mean")
    Array([2.], dtype=float32)
    """
    values = jnp.asarray(x.values)
    weights = x.elements.weights.astype(values.dtype)[:, None]
    if reduce == "mean":
        return (values * weights).sum(-2) / weights.sum()
    if reduce == "max":
        # What is left out becomes the smallest value there is: with a gradient to its weight.
        least = lax.stop_gradient(values.min(-2, keepdims=True))
        return max_over(least + weights * (values - least), -2)
    raise ValueError(f"`reduce` must be 'max' or 'mean', got {reduce!r}")


def instance_norm(x: SampledFeatures, *, epsilon: float = 1e-5) -> SampledFeatures:
    """Normalize each image and channel by itself: ``(x - mean) / sqrt(variance + epsilon)``, over
    space and over the elements that are there. It has no parameters.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import SO2, SampledFeatures, all_elements, instance_norm
    >>> values = jnp.arange(2 * 4 * 4 * 2 * 1.0).reshape(2, 4, 4, 2, 1)
    >>> y = instance_norm(SampledFeatures(values, all_elements(SO2(), 2))).values
    >>> bool((abs(y.mean((1, 2, 3))) < 1e-5).all() and (abs(y.std((1, 2, 3)) - 1) < 1e-5).all())
    True
    """
    values = jnp.asarray(x.values)
    share = x.elements.weights / x.elements.weights.sum()
    share = lax.stop_gradient(share).astype(values.dtype)

    def mean(a: jax.Array) -> jax.Array:
        return jnp.einsum("...sc,s->...c", a.mean((-4, -3)), share)[..., None, None, None, :]

    centered = values - mean(values)
    return x._replace(values=centered * lax.rsqrt(mean(jnp.square(centered)) + epsilon))
