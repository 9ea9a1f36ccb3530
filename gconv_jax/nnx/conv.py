"""Group convolutions as Flax NNX modules: the parameters, and a call of `gconv_jax.conv.group`."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.nn.initializers import Initializer, zeros
from jax.typing import DTypeLike

from gconv_jax.conv.algorithm import Algorithm, check_algorithm
from gconv_jax.conv.group import group_conv_with, lift_conv_with
from gconv_jax.conv.options import ConvOptions
from gconv_jax.filters.bank import filter_axes
from gconv_jax.filters.basis import Filters
from gconv_jax.filters.initializers import base_filter_init, compile_unoptimized
from gconv_jax.filters.kernel_transforms import KernelTransform, check_transform
from gconv_jax.groups.fields import Fields, check_layer_fields
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.lattice.padding import PaddingLike, make_windows
from gconv_jax.ops.arguments import check_integer, per_axis


class ConvLayer(nnx.Module):
    """The settings and parameters of a convolution, and a call of its pure function."""

    lifting = False
    _kernel_names: tuple[str, ...] = ("kernel",)  # the attributes that hold base filters

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        *,
        padding: PaddingLike = "SAME",
        kernel_dilation: int | Sequence[int] = 1,
        use_bias: bool = True,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        precision: lax.PrecisionLike = None,
        kernel_init: Initializer = base_filter_init,
        bias_init: Initializer = zeros,
        group: FiniteGroup,
        filters: Filters = "pixel",
        algorithm: Algorithm = "auto",
        kernel_transform: KernelTransform | None = None,
        fields: Fields | None = None,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
        rngs: nnx.Rngs,
    ):
        check_group(group)
        check_algorithm(algorithm, group, filters)
        self.in_features = check_integer("in_features", in_features, least=1)
        self.out_features = check_integer("out_features", out_features, least=1)
        self.fields = check_layer_fields(fields, group, self.in_features, lifting=self.lifting)
        self.kernel_size = per_axis(kernel_size, group.dimension, "kernel_size")
        kernel_dilation = per_axis(kernel_dilation, group.dimension, "kernel_dilation")
        windows = make_windows(self.kernel_size, strides, padding)
        # Tuples: arrays would be state to Flax, lists are not hashable.
        self.strides = windows.strides
        self.padding = windows.padding
        self.kernel_dilation = kernel_dilation
        self.use_bias = use_bias
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.precision = precision
        self.group = group
        self.filters: Filters = filters
        self.algorithm: Algorithm = algorithm
        self.kernel_transform = check_transform(kernel_transform)
        made = self._make_kernels(compile_unoptimized(kernel_init), rngs)
        for name, kernel in zip(self._kernel_names, made, strict=True):
            setattr(self, name, nnx.Param(kernel, **kernel_metadata))
        if use_bias:
            bias = bias_init(rngs.params(), (self.out_features,), param_dtype)
            self.bias = nnx.Param(bias, **bias_metadata)
        else:
            self.bias = nnx.data(None)

    def __call__(self, x: jax.Array) -> jax.Array:
        """``[..., (|G|,) in_features]`` to ``[..., |G|, out_features]``."""
        kernels = [getattr(self, name)[...] for name in self._kernel_names]
        options = ConvOptions(
            type(self).__name__,
            self.group,
            None if self.bias is None else self.bias[...],
            self.strides,
            self.padding,
            self.kernel_dilation,
            self.dtype,
            self.precision,
            self.filters,
            self.kernel_size,
            self.fields,
        )
        return self._convolve(x, *map(self.kernel_transform, kernels), options=options)

    def _make_kernels(self, init: Initializer, rngs: nnx.Rngs) -> tuple[Any, ...]:
        """Return the initial values of the parameters named in ``_kernel_names``."""
        group_axis = () if self.lifting else (self.group.order,)
        taps = filter_axes(self.filters, self.group, self.kernel_size)
        shape = (*taps, *group_axis, self.in_features, self.out_features)
        return (init(rngs.params(), shape, self.param_dtype),)

    def _convolve(self, x: jax.Array, *kernels: jax.Array, options: ConvOptions) -> jax.Array:
        raise NotImplementedError


class LiftConv(ConvLayer):
    """The first layer of a G-CNN: convolves an image with its filters in every pose of a group.

    It takes the arguments of ``nnx.Conv`` and ``group``, but for five that it lacks:
    ``feature_group_count``, ``input_dilation`` (`GroupConvTranspose` enlarges), ``mask`` (use
    ``kernel_transform``), ``promote_dtype`` and ``preferred_element_type``. One integer stands for
    every spatial axis. See `gconv_jax.lift_conv` for the equation and the law.

    Args:
        in_features, out_features: channels of the image, and channels for each group element.
        kernel_size: odd or even, an integer or one for each spatial axis.
        strides, padding, kernel_dilation: as in `gconv_jax.lift_conv`.
        use_bias: add a bias for each output channel, shared by the group elements.
        dtype: of computation; by default what input and parameters promote to.
        param_dtype: of the parameters.
        precision: as in ``jax.lax``.
        kernel_init, bias_init: initializers. Fan-in is ``taps * C_in``, and
            ``taps * |G| * C_in`` in `GroupConv`, with P in place of the taps for other filters.
        group: the symmetry, e.g. `gconv_jax.P4`.
        filters: what the parameters are: ``"pixel"``, the taps; for rotations finer than 90 degrees
            ``"harmonic"``, ``"bilinear"``, ``"bicubic"`` or a `gconv_jax.FilterBasis`. See
            `gconv_jax.filter_bank`.
        algorithm: of `GroupConv`, as in `gconv_jax.group_conv`; lifting is always dense.
        kernel_transform: a function of the base filters that is applied before they are used, such
            as `gconv_jax.standardize_weights`, a spectral normalization or a mask; every one keeps
            the law.
        fields: of `LiftConv`, what the channels of the image are, if some are components of
            vectors, as in `gconv_jax.lift_conv`.
        kernel_metadata, bias_metadata: of the parameters, as in ``nnx.Conv``.
        rngs: random key.

    Attributes:
        kernel: ``[*kernel_size, in_features, out_features]``, the base filters; the same in
            training and in evaluation. ``[P, in_features, out_features]`` for ``filters`` other
            than pixels.
        bias: ``[out_features]`` or None.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import P4
    >>> from gconv_jax.nnx import LiftConv
    >>> LiftConv(3, 16, 3, group=P4, rngs=nnx.Rngs(0))(jnp.ones((2, 33, 33, 3))).shape
    (2, 33, 33, 4, 16)
    """

    lifting = True
    kernel: nnx.Param

    def _convolve(self, x: jax.Array, *kernels: jax.Array, options: ConvOptions) -> jax.Array:
        return lift_conv_with(options, x, *kernels)


class GroupConv(ConvLayer):
    """The layer that replaces ``nnx.Conv`` in a G-CNN: from feature map on the group to feature
    map on the group.

    Arguments and attributes are those of `LiftConv`; ``in_features`` are the channels for each
    group element, and ``kernel`` is ``[*kernel_size, |G|, in_features, out_features]``. See
    `gconv_jax.group_conv` for the equation and the law.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import P4
    >>> from gconv_jax.nnx import GroupConv
    >>> layer = GroupConv(16, 32, 3, strides=2, group=P4, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 33, 33, 4, 16))).shape
    (2, 17, 17, 4, 32)
    """

    def _convolve(self, x: jax.Array, *kernels: jax.Array, options: ConvOptions) -> jax.Array:
        return group_conv_with(options, x, *kernels, algorithm=self.algorithm)
