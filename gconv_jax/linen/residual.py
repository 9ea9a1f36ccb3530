"""Group convolutions with a residual pathway as Flax Linen modules."""

from typing import ClassVar

import jax
from jax.nn.initializers import zeros

from gconv_jax.adapt.residual import free_kernel_shape, residual_conv_with
from gconv_jax.conv.options import ConvOptions
from gconv_jax.linen.conv import ConvLayer
from gconv_jax.ops.arguments import per_axis


class _ResidualConv(ConvLayer):
    def _convolve(self, x: jax.Array, *kernels: jax.Array, options: ConvOptions) -> jax.Array:
        size = per_axis(self.kernel_size, self.group.dimension, "kernel_size")
        channels = x.shape[-1], self.features
        shape = free_kernel_shape(self.group, size, *channels, lifting=self.lifting)
        free = self.param("free_kernel", zeros, shape, self.param_dtype)
        return residual_conv_with(options, x, kernels[0], free, lifting=self.lifting)


class ResidualLiftConv(_ResidualConv):
    """A `LiftConv` and an ordinary convolution of the image, added. Arguments as `LiftConv`; the
    parameters are those of `gconv_jax.nnx.ResidualLiftConv`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4
    >>> from gconv_jax.linen import ResidualLiftConv
    >>> y, variables = ResidualLiftConv(16, 3, group=P4).init_with_output(
    ...     jax.random.key(0), jnp.ones((2, 33, 33, 3))
    ... )
    >>> y.shape, variables["params"]["free_kernel"].shape
    ((2, 33, 33, 4, 16), (3, 3, 3, 64))
    """

    lifting: ClassVar[bool] = True


class ResidualGroupConv(_ResidualConv):
    """A `GroupConv` and an ordinary convolution of the merged channels, added. Arguments as
    `ResidualLiftConv`; see `gconv_jax.nnx.ResidualGroupConv`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, residual_penalty
    >>> from gconv_jax.linen import ResidualGroupConv
    >>> layer = ResidualGroupConv(5, 3, group=P4)
    >>> params = layer.init(jax.random.key(0), jnp.ones((2, 9, 9, 4, 3)))["params"]
    >>> params["free_kernel"].shape, float(residual_penalty(params, equivariant=0.0, free=10.0))
    ((3, 3, 12, 20), 0.0)
    """
