"""Separable group convolutions as Flax Linen modules."""

import dataclasses
import functools

import jax
from jax.nn.initializers import Initializer

from gconv_jax.conv.options import ConvOptions
from gconv_jax.conv.separable import Separable, separable_group_conv_with, spatial_kernel
from gconv_jax.linen.conv import ConvLayer


class SeparableGroupConv(ConvLayer):
    """A `GroupConv` whose filter is a product of one on space and one on the group. Arguments as
    `LiftConv`, and ``separable``; their meaning, and the names and shapes of the parameters, are
    those of `gconv_jax.nnx.SeparableGroupConv`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4
    >>> from gconv_jax.linen import SeparableGroupConv
    >>> layer = SeparableGroupConv(32, 3, group=P4)
    >>> y, variables = layer.init_with_output(jax.random.key(0), jnp.ones((2, 9, 9, 4, 16)))
    >>> y.shape, variables["params"]["pointwise_kernel"].shape
    ((2, 9, 9, 4, 32), (4, 16, 32))
    """

    separable: Separable = dataclasses.field(default="gc", kw_only=True)

    def _kernels(
        self, init: Initializer, kernel_size: tuple[int, ...], c_in: int, c_out: int
    ) -> tuple[jax.Array, ...]:
        spatial = functools.partial(
            spatial_kernel,
            init=init,
            in_features=c_in,
            out_features=c_out,
            kernel_size=kernel_size,
            group=self.group,
            separable=self.separable,
            filters=self.filters,
            dtype=self.param_dtype,
        )
        shape = (self.group.order, c_in, c_out)
        return (
            self.param("spatial_kernel", spatial),
            self.param("pointwise_kernel", init, shape, self.param_dtype),
        )

    def _convolve(self, x: jax.Array, *kernels: jax.Array, options: ConvOptions) -> jax.Array:
        return separable_group_conv_with(options, x, *kernels, algorithm=self.algorithm)
