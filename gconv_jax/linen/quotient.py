"""Convolutions between functions on cosets as Flax Linen modules."""

import dataclasses
import functools

import jax
from jax.nn.initializers import Initializer

from gconv_jax.conv.options import ConvOptions
from gconv_jax.conv.quotient import quotient_conv_with, quotient_kernel
from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.linen.conv import ConvLayer


class QuotientConv(ConvLayer):
    """A convolution from a function on the cosets G/K to one on G/H. Arguments as `LiftConv`, and
    ``in_subgroup`` and ``out_subgroup``; their meaning, and the names and shapes of the parameters,
    are those of `gconv_jax.nnx.QuotientConv`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4M, mirror
    >>> from gconv_jax.linen import QuotientConv
    >>> layer = QuotientConv(10, 3, group=P4M, out_subgroup=mirror())
    >>> layer.init_with_output(jax.random.key(0), jnp.ones((2, 9, 9, 8, 6)))[0].shape
    (2, 9, 9, 4, 10)
    """

    in_subgroup: FiniteGroup | None = dataclasses.field(default=None, kw_only=True)
    out_subgroup: FiniteGroup | None = dataclasses.field(default=None, kw_only=True)

    def _kernels(
        self, init: Initializer, kernel_size: tuple[int, ...], c_in: int, c_out: int
    ) -> tuple[jax.Array, ...]:
        kernel = functools.partial(
            quotient_kernel,
            init=init,
            in_features=c_in,
            out_features=c_out,
            kernel_size=kernel_size,
            group=self.group,
            in_subgroup=self.in_subgroup,
            out_subgroup=self.out_subgroup,
            filters=self.filters,
            dtype=self.param_dtype,
        )
        return (self.param("kernel", kernel),)

    def _convolve(self, x: jax.Array, *kernels: jax.Array, options: ConvOptions) -> jax.Array:
        subgroups = {"in_subgroup": self.in_subgroup, "out_subgroup": self.out_subgroup}
        return quotient_conv_with(options, x, *kernels, **subgroups)
