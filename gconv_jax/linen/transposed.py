"""Transposed group convolutions as Flax Linen modules."""

import jax

from gconv_jax.conv.transposed import group_conv_transpose
from gconv_jax.linen.conv import ConvLayer


class GroupConvTranspose(ConvLayer):
    """A convolution to larger feature maps on the group; stands where ``nn.ConvTranspose`` stood.
    Arguments, and names and shapes of the parameters, as `gconv_jax.nnx.GroupConvTranspose`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4
    >>> from gconv_jax.linen import GroupConvTranspose
    >>> layer = GroupConvTranspose(8, 4, strides=2, group=P4)
    >>> layer.init_with_output(jax.random.key(0), jnp.ones((2, 7, 7, 4, 16)))[0].shape
    (2, 14, 14, 4, 8)
    """

    def _convolve(self, x: jax.Array, *kernels: jax.Array, **options) -> jax.Array:
        return group_conv_transpose(x, *kernels, **options)
