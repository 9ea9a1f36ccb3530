"""Group convolutions as Flax Linen modules: the parameters, and one call."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.nn.initializers import Initializer, zeros

from gconv_jax.conv.algorithm import Algorithm, check_algorithm
from gconv_jax.conv.group import group_conv_with, lift_conv_with
from gconv_jax.conv.options import ConvOptions
from gconv_jax.filters.bank import filter_axes
from gconv_jax.filters.basis import Filters
from gconv_jax.filters.initializers import base_filter_init, compile_unoptimized
from gconv_jax.filters.kernel_transforms import KernelTransform, check_transform
from gconv_jax.groups.fields import Fields, check_layer_fields
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.lattice.padding import PaddingLike
from gconv_jax.ops.arguments import check_integer, per_axis


class ConvLayer(nn.Module):
    """The settings and parameters of a convolution, and a call of its pure function."""

    features: int
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] = 1
    padding: PaddingLike = "SAME"
    kernel_dilation: int | Sequence[int] = 1
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: lax.PrecisionLike = None
    kernel_init: Initializer = base_filter_init
    bias_init: Initializer = zeros
    group: FiniteGroup = dataclasses.field(kw_only=True)
    filters: Filters = dataclasses.field(default="pixel", kw_only=True)
    algorithm: Algorithm = dataclasses.field(default="auto", kw_only=True)
    kernel_transform: KernelTransform | None = dataclasses.field(default=None, kw_only=True)
    fields: Fields | None = dataclasses.field(default=None, kw_only=True)

    lifting: ClassVar[bool] = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """``[..., (|G|,) C_in]`` to ``[..., |G|, features]``."""
        check_group(self.group)
        check_algorithm(self.algorithm, self.group, self.filters)
        features = check_integer("features", self.features, least=1)
        check_layer_fields(self.fields, self.group, x.shape[-1], lifting=self.lifting)
        kernel_size = per_axis(self.kernel_size, self.group.dimension, "kernel_size")
        per_axis(self.kernel_dilation, self.group.dimension, "kernel_dilation")
        kernels = self._kernels(
            compile_unoptimized(self.kernel_init), kernel_size, x.shape[-1], features
        )
        kernels = map(check_transform(self.kernel_transform), kernels)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (features,), self.param_dtype)
        options = ConvOptions(
            type(self).__name__,
            self.group,
            bias,
            self.strides,
            self.padding,
            self.kernel_dilation,
            self.dtype,
            self.precision,
            self.filters,
            kernel_size,
            self.fields,
        )
        return self._convolve(x, *kernels, options=options)

    def _kernels(
        self, init: Initializer, kernel_size: tuple[int, ...], c_in: int, c_out: int
    ) -> tuple[jax.Array, ...]:
        group_axis = () if self.lifting else (self.group.order,)
        taps = filter_axes(self.filters, self.group, kernel_size)
        shape = (*taps, *group_axis, c_in, c_out)
        return (self.param("kernel", init, shape, self.param_dtype),)

    def _convolve(self, x: jax.Array, *kernels: jax.Array, options: ConvOptions) -> jax.Array:
        raise NotImplementedError


class LiftConv(ConvLayer):
    """The first layer of a G-CNN: convolves an image with its filters in every pose of a group.

    It takes the arguments of ``nn.Conv`` and ``group``, but for those that
    `gconv_jax.nnx.LiftConv` lacks; their meaning, and the names and shapes of the parameters, are
    the same.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4
    >>> from gconv_jax.linen import LiftConv
    >>> y, variables = LiftConv(16, 3, group=P4).init_with_output(
    ...     jax.random.key(0), jnp.ones((2, 33, 33, 3))
    ... )
    >>> y.shape, variables["params"]["kernel"].shape
    ((2, 33, 33, 4, 16), (3, 3, 3, 16))
    """

    lifting: ClassVar[bool] = True

    def _convolve(self, x: jax.Array, *kernels: jax.Array, options: ConvOptions) -> jax.Array:
        return lift_conv_with(options, x, *kernels)


class GroupConv(ConvLayer):
    """The layer that replaces ``nn.Conv`` in a G-CNN: from feature map on the group to feature
    map on the group. Arguments as `LiftConv`; see `gconv_jax.nnx.GroupConv`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4
    >>> from gconv_jax.linen import GroupConv
    >>> layer = GroupConv(32, 3, group=P4, strides=2)
    >>> layer.init_with_output(jax.random.key(0), jnp.ones((2, 33, 33, 4, 16)))[0].shape
    (2, 17, 17, 4, 32)
    """

    def _convolve(self, x: jax.Array, *kernels: jax.Array, options: ConvOptions) -> jax.Array:
        return group_conv_with(options, x, *kernels, algorithm=self.algorithm)
