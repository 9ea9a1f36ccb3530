"""Relaxed group convolutions as Flax NNX modules."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer

from gconv_jax.adapt.relaxed import relaxed_group_conv_with, relaxed_lift_conv_with, with_banks
from gconv_jax.conv.options import ConvOptions
from gconv_jax.nnx.conv import ConvLayer
from gconv_jax.ops.arguments import check_integer


class _RelaxedConv(ConvLayer):
    kernel: nnx.Param
    weights: nnx.Param

    def __init__(self, *args, filter_banks: int = 1, **options):
        self.filter_banks = check_integer("filter_banks", filter_banks, least=1)
        super().__init__(*args, **options)
        shape = (self.filter_banks, self.group.order)
        self.weights = nnx.Param(jnp.ones(shape, self.param_dtype))

    def _make_kernels(self, init: Initializer, rngs: nnx.Rngs) -> tuple[Any, ...]:
        return super()._make_kernels(with_banks(init, self.filter_banks), rngs)


class RelaxedLiftConv(_RelaxedConv):
    """A `LiftConv` whose filters may differ between the poses: a first layer for data whose
    symmetry is approximate (Wang, Walters & Yu 2022, arXiv:2201.11969).

    The filter of each pose is a mixture of ``filter_banks`` base filters, with weights that start
    as ones. The law holds at the start, for all parameters with equal weights, and no longer once
    training makes them differ. `gconv_jax.symmetry_breaking` says by how much. Check the law of a
    new layer with ``assert_equivariant(..., perturb=False)``. See `gconv_jax.relaxed_lift_conv` for
    the equation.

    Args:
        in_features, out_features, kernel_size, strides, padding: as in `LiftConv`.
        kernel_dilation, use_bias, dtype, param_dtype, precision, bias_init: the same.
        group, filters, algorithm, fields, kernel_metadata, bias_metadata, rngs: the same.
        kernel_init: of all base filters, with a fan-in of ``filter_banks * taps * C_in``: the
            variance of the output is that of a `LiftConv`.
        kernel_transform: a function of all base filters at once.
        filter_banks: L, the number of base filters that are mixed. With 1 the filters of poses
            differ by factors, with more in their form.

    Attributes:
        kernel: ``[L, *kernel_size, in_features, out_features]``, or ``[L, P, in_features,
            out_features]`` for ``filters`` other than pixels.
        weights: ``[L, |G|]``, of each base filter and pose.
        bias: ``[out_features]`` or None.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import P4
    >>> from gconv_jax.nnx import RelaxedLiftConv
    >>> layer = RelaxedLiftConv(3, 16, 3, group=P4, filter_banks=2, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 33, 33, 3))).shape
    (2, 33, 33, 4, 16)
    >>> layer.kernel.shape, layer.weights.shape
    ((2, 3, 3, 3, 16), (2, 4))
    """

    lifting = True

    def _convolve(self, x: jax.Array, *kernels: jax.Array, options: ConvOptions) -> jax.Array:
        return relaxed_lift_conv_with(options, x, kernels[0], self.weights[...])


class RelaxedGroupConv(_RelaxedConv):
    """A `GroupConv` whose filters may differ between the elements of the group (Wang, Walters & Yu
    2022, arXiv:2201.11969).

    Arguments and attributes are those of `RelaxedLiftConv`; ``kernel`` is ``[L, *kernel_size, |G|,
    in_features, out_features]``, and the weights are those of the elements of the input. See
    `gconv_jax.relaxed_group_conv` for the equation.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import P4
    >>> from gconv_jax.nnx import RelaxedGroupConv
    >>> from gconv_jax.testing import assert_equivariant
    >>> layer = RelaxedGroupConv(3, 5, 3, group=P4, filter_banks=2, rngs=nnx.Rngs(0))
    >>> layer.kernel.shape, layer.weights.shape
    ((2, 3, 3, 4, 3, 5), (2, 4))
    >>> x = jnp.arange(9 * 9 * 4 * 3.0).reshape(1, 9, 9, 4, 3)
    >>> assert_equivariant(layer, x, group=P4, perturb=False)
    """

    def _convolve(self, x: jax.Array, *kernels: jax.Array, options: ConvOptions) -> jax.Array:
        return relaxed_group_conv_with(
            options, x, kernels[0], self.weights[...], algorithm=self.algorithm
        )
