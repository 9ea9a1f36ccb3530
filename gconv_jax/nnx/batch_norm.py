"""Batch normalization of feature maps on the group, at the speed of a plain CNN's."""

from typing import overload

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from gconv_jax.continuous.sampled import SampledFeatures
from gconv_jax.ops.channels import merge_channels, tile_channels
from gconv_jax.ops.normalize import Settings, normalize

# Versions of Flax differ in how they promote shorter types.
_LONG = (jnp.float32, jnp.float64)

Mask = jax.Array | None


class BatchNorm(nnx.BatchNorm):
    """Flax's batch normalization, faster on feature maps on the group: the same arguments,
    variables and values as ``nnx.BatchNorm``, with statistics and parameters shared by the group.

    ``y = (x - mean) / sqrt(var + epsilon) * scale + bias``, with the mean and the variance over all
    axes but the last.

    ``nnx.BatchNorm`` is right on ``[*batch, *spatial, |G|, C]`` as it stands. But XLA:CPU then
    loops over C numbers at a time, too few for its vector units; this one computes on the merged
    ``|G| C`` channels, as `GroupConv` and the poolings do. In training it has a derivative of its
    own (`gconv_jax.ops.normalize`), and a variance that is right for means far from zero, whatever
    ``use_fast_variance`` says. Calls with a ``mask``, and layers with settings that this has no use
    for, are Flax's own.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax.nnx import BatchNorm
    >>> norm = BatchNorm(5, rngs=nnx.Rngs(0))
    >>> norm(jnp.ones((2, 9, 9, 4, 5))).shape, norm.scale.shape
    ((2, 9, 9, 4, 5), (5,))
    """

    @overload
    def __call__(
        self, x: jax.Array, use_running_average: bool | None = None, *, mask: Mask = None
    ) -> jax.Array: ...

    @overload
    def __call__(
        self, x: SampledFeatures, use_running_average: bool | None = None, *, mask: Mask = None
    ) -> SampledFeatures: ...

    def __call__(
        self,
        x: jax.Array | SampledFeatures,
        use_running_average: bool | None = None,
        *,
        mask: Mask = None,
    ) -> jax.Array | SampledFeatures:
        """``[..., |G|, C]`` to the same shape. The statistics of `SampledFeatures` are those of the
        elements that are there."""
        if isinstance(x, SampledFeatures):
            weights = x.elements.weights
            return x.map(lambda values: self._normalize(values, use_running_average, mask, weights))
        return self._normalize(jnp.asarray(x), use_running_average, mask, None)

    def _normalize(self, x, use_running_average, mask, weights) -> jax.Array:
        if use_running_average is None:
            use_running_average = self.use_running_average
        if (
            use_running_average is None
            or mask is not None
            or self.axis not in (-1, x.ndim - 1)
            or self.axis_index_groups is not None
            or x.dtype not in _LONG
            or (self.dtype is not None and self.dtype not in _LONG)
            or x.ndim < 3
        ):
            if weights is not None:
                there = (weights > 0.5)[:, None]
                mask = there if mask is None else mask & there
            return super().__call__(x, use_running_average, mask=mask)
        parameters = [p[...] for p in (self.scale, self.bias) if p is not None]
        dtype = self.dtype or jnp.result_type(x, *parameters)
        order, merged = x.shape[-2], merge_channels(x.astype(dtype))
        features = x.shape[-1]
        scale, bias = (
            jnp.full((features,), value, dtype) if p is None else p[...].astype(dtype)
            for p, value in ((self.scale, 1), (self.bias, 0))
        )
        if use_running_average:
            factor = lax.rsqrt(self.var[...] + self.epsilon) * scale
            mean, factor, bias = (tile_channels(a, order) for a in (self.mean[...], factor, bias))
            y = (merged - mean) * factor + bias
            return y.astype(dtype).reshape(x.shape)
        share = None
        if weights is not None:
            share = lax.stop_gradient(weights / weights.sum()).astype(dtype)
        settings = Settings(order, self.epsilon, self.axis_name)
        y, mean, var = normalize(merged, scale, bias, share, settings)
        keep = self.momentum
        for running, new in ((self.mean, mean), (self.var, var)):
            old = running[...]
            running[...] = (keep * old + (1 - keep) * new).astype(old.dtype)
        return y.reshape(x.shape)
