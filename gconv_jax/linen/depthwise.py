"""Depthwise group convolutions as Flax Linen modules."""

import jax
from jax.nn.initializers import Initializer

from gconv_jax.conv.depthwise import depthwise_group_conv_with
from gconv_jax.conv.options import ConvOptions
from gconv_jax.filters.bank import filter_axes
from gconv_jax.linen.conv import ConvLayer


class DepthwiseGroupConv(ConvLayer):
    """A convolution of each channel and group element by itself, with turned filters. Arguments as
    `LiftConv`, and ``features`` are those of the input; the parameters are those of
    `gconv_jax.nnx.DepthwiseGroupConv`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4M
    >>> from gconv_jax.linen import DepthwiseGroupConv
    >>> layer = DepthwiseGroupConv(12, 7, group=P4M)
    >>> layer.init_with_output(jax.random.key(0), jnp.ones((2, 9, 9, 8, 12)))[0].shape
    (2, 9, 9, 8, 12)
    """

    def _kernels(
        self, init: Initializer, kernel_size: tuple[int, ...], c_in: int, c_out: int
    ) -> tuple[jax.Array, ...]:
        taps = filter_axes(self.filters, self.group, kernel_size)
        return (self.param("kernel", init, (*taps, 1, c_out), self.param_dtype),)

    def _convolve(self, x: jax.Array, *kernels: jax.Array, options: ConvOptions) -> jax.Array:
        return depthwise_group_conv_with(options, x, *kernels)
