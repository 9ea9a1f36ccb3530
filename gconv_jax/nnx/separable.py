"""Separable group convolutions as Flax NNX modules."""

from typing import Any

import jax
from flax import nnx
from jax.nn.initializers import Initializer

from gconv_jax.conv.options import ConvOptions
from gconv_jax.conv.separable import Separable, separable_group_conv_with, spatial_kernel
from gconv_jax.nnx.conv import ConvLayer


class SeparableGroupConv(ConvLayer):
    """A `GroupConv` whose filter is a product of one on space and one on the group: fewer
    parameters and multiplications for as many channels (Lengyel & van Gemert 2021,
    arXiv:2110.13059). See `gconv_jax.separable_group_conv` for the equation.

    The first layer stays a `LiftConv`.

    Args:
        in_features, out_features, kernel_size, strides, padding: as in `GroupConv`.
        kernel_dilation, use_bias, dtype, param_dtype, precision, bias_init: the same.
        group, filters, algorithm, rngs: the same.
        kernel_init: of both kernels, with a fan-in of ``taps`` and of ``|G| C_in``: the variance
            of the product is that of a `GroupConv`.
        separable: ``gc``, one spatial filter for each output channel, or ``g``, one for each pair
            of channels.

    Attributes:
        spatial_kernel: ``[*kernel_size, 1, out_features]`` (gc) or ``[*kernel_size, in_features,
            out_features]`` (g); P parameters in place of the taps for ``filters`` other than
            pixels.
        pointwise_kernel: ``[|G|, in_features, out_features]``.
        bias: ``[out_features]`` or None.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import P4
    >>> from gconv_jax.nnx import SeparableGroupConv
    >>> layer = SeparableGroupConv(16, 32, 3, group=P4, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 9, 9, 4, 16))).shape
    (2, 9, 9, 4, 32)
    >>> layer.spatial_kernel.shape, layer.pointwise_kernel.shape
    ((3, 3, 1, 32), (4, 16, 32))
    """

    _kernel_names = ("spatial_kernel", "pointwise_kernel")

    def __init__(self, *args, separable: Separable = "gc", **options):
        self.separable: Separable = separable
        super().__init__(*args, **options)

    def _make_kernels(self, init: Initializer, rngs: nnx.Rngs) -> tuple[Any, ...]:
        spatial = spatial_kernel(
            rngs.params(),
            init,
            in_features=self.in_features,
            out_features=self.out_features,
            kernel_size=self.kernel_size,
            group=self.group,
            separable=self.separable,
            filters=self.filters,
            dtype=self.param_dtype,
        )
        shape = (self.group.order, self.in_features, self.out_features)
        return spatial, init(rngs.params(), shape, self.param_dtype)

    def _convolve(self, x: jax.Array, *kernels: jax.Array, options: ConvOptions) -> jax.Array:
        return separable_group_conv_with(options, x, *kernels, algorithm=self.algorithm)
