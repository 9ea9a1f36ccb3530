"""Transposed group convolutions as Flax NNX modules."""

import jax

from gconv_jax.conv.transposed import group_conv_transpose
from gconv_jax.nnx.conv import ConvLayer


class GroupConvTranspose(ConvLayer):
    """A convolution from feature maps on the group to larger ones, for decoders; stands where
    ``nnx.ConvTranspose`` stood. See `gconv_jax.group_conv_transpose` for the equation, the law, and
    what ``padding`` means.

    Arguments and attributes are those of `GroupConv`, and so are the parameters: ``kernel`` is
    ``[*kernel_size, |G|, in_features, out_features]``. It is always dense.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import P4
    >>> from gconv_jax.nnx import GroupConvTranspose
    >>> layer = GroupConvTranspose(16, 8, 4, strides=2, group=P4, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 7, 7, 4, 16))).shape
    (2, 14, 14, 4, 8)
    """

    def _convolve(self, x: jax.Array, *kernels: jax.Array, **options) -> jax.Array:
        return group_conv_transpose(x, *kernels, **options)
