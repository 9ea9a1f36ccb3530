"""Convolutions between functions on cosets as Flax NNX modules."""

from typing import Any

import jax
from flax import nnx
from jax.nn.initializers import Initializer

from gconv_jax.conv.options import ConvOptions
from gconv_jax.conv.quotient import quotient_conv_with, quotient_kernel
from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.nnx.conv import ConvLayer


class QuotientConv(ConvLayer):
    """A convolution from a function on the cosets G/K to one on G/H: fields of arrows or lines, and
    images. See `gconv_jax.quotient_conv` for the equation and the law.

    Args:
        in_features, out_features: channels for each coset.
        in_subgroup, out_subgroup: K and H, subgroups of ``group``; by default trivial, which is a
            `GroupConv`.
        kernel_size, strides, padding, kernel_dilation, use_bias: as in `LiftConv`.
        dtype, param_dtype, precision, bias_init, group, filters, rngs: the same.
        kernel_init: with a fan-in of ``taps * |G/K| * in_features``; its values are multiplied so
            that the mean over H does not make the result smaller.

    Attributes:
        kernel: ``[*kernel_size, |G/K|, in_features, out_features]``; ``[P, |G/K|, in_features,
            out_features]`` for ``filters`` other than pixels.
        bias: ``[out_features]`` or None.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import cyclic
    >>> from gconv_jax.nnx import QuotientConv
    >>> options = {"group": cyclic(8), "filters": "harmonic", "rngs": nnx.Rngs(0)}
    >>> lines = QuotientConv(6, 10, 5, in_subgroup=cyclic(2), out_subgroup=cyclic(2), **options)
    >>> lines(jnp.ones((2, 9, 9, 4, 6))).shape
    (2, 9, 9, 4, 10)
    """

    def __init__(
        self,
        *args,
        in_subgroup: FiniteGroup | None = None,
        out_subgroup: FiniteGroup | None = None,
        **options,
    ):
        self.in_subgroup = in_subgroup
        self.out_subgroup = out_subgroup
        super().__init__(*args, **options)

    def _make_kernels(self, init: Initializer, rngs: nnx.Rngs) -> tuple[Any, ...]:
        kernel = quotient_kernel(
            rngs.params(),
            init,
            in_features=self.in_features,
            out_features=self.out_features,
            kernel_size=self.kernel_size,
            group=self.group,
            in_subgroup=self.in_subgroup,
            out_subgroup=self.out_subgroup,
            filters=self.filters,
            dtype=self.param_dtype,
        )
        return (kernel,)

    def _convolve(self, x: jax.Array, *kernels: jax.Array, options: ConvOptions) -> jax.Array:
        subgroups = {"in_subgroup": self.in_subgroup, "out_subgroup": self.out_subgroup}
        return quotient_conv_with(options, x, *kernels, **subgroups)
