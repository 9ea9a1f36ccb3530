"""Relaxed group convolutions as Flax Linen modules."""

import dataclasses
from typing import ClassVar

import jax
from jax.nn.initializers import Initializer, ones

from gconv_jax.adapt.relaxed import relaxed_group_conv_with, relaxed_lift_conv_with, with_banks
from gconv_jax.conv.options import ConvOptions
from gconv_jax.linen.conv import ConvLayer
from gconv_jax.ops.arguments import check_integer


class _RelaxedConv(ConvLayer):
    filter_banks: int = dataclasses.field(default=1, kw_only=True)

    def _kernels(
        self, init: Initializer, kernel_size: tuple[int, ...], c_in: int, c_out: int
    ) -> tuple[jax.Array, ...]:
        count = check_integer("filter_banks", self.filter_banks, least=1)
        return super()._kernels(with_banks(init, count), kernel_size, c_in, c_out)

    def _weights(self) -> jax.Array:
        return self.param("weights", ones, (self.filter_banks, self.group.order), self.param_dtype)


class RelaxedLiftConv(_RelaxedConv):
    """A `LiftConv` whose filters may differ between the poses. Arguments as `LiftConv`, and
    ``filter_banks``; their meaning, and the names and shapes of the parameters, are those of
    `gconv_jax.nnx.RelaxedLiftConv`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4
    >>> from gconv_jax.linen import RelaxedLiftConv
    >>> y, variables = RelaxedLiftConv(16, 3, group=P4, filter_banks=2).init_with_output(
    ...     jax.random.key(0), jnp.ones((2, 33, 33, 3))
    ... )
    >>> y.shape, variables["params"]["weights"].shape
    ((2, 33, 33, 4, 16), (2, 4))
    """

    lifting: ClassVar[bool] = True

    def _convolve(self, x: jax.Array, *kernels: jax.Array, options: ConvOptions) -> jax.Array:
        return relaxed_lift_conv_with(options, x, kernels[0], self._weights())


class RelaxedGroupConv(_RelaxedConv):
    """A `GroupConv` whose filters may differ between the elements of the group. Arguments as
    `RelaxedLiftConv`; see `gconv_jax.nnx.RelaxedGroupConv`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, symmetry_breaking
    >>> from gconv_jax.linen import RelaxedGroupConv
    >>> layer = RelaxedGroupConv(5, 3, group=P4, filter_banks=2)
    >>> params = layer.init(jax.random.key(0), jnp.ones((2, 9, 9, 4, 3)))["params"]
    >>> symmetry_breaking(params, group=P4)
    {'e': 0.0, 'r90': 0.0, 'r180': 0.0, 'r270': 0.0}
    """

    def _convolve(self, x: jax.Array, *kernels: jax.Array, options: ConvOptions) -> jax.Array:
        return relaxed_group_conv_with(
            options, x, kernels[0], self._weights(), algorithm=self.algorithm
        )
