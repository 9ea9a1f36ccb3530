"""The network of a well-known exercise: train on upright digits, test on turned ones."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.nn.initializers import Initializer, variance_scaling
from jax.typing import DTypeLike

from gconv_jax.filters.bank import filter_axes
from gconv_jax.filters.basis import Filters
from gconv_jax.filters.initializers import compile_unoptimized
from gconv_jax.groups.finite import P4, FiniteGroup
from gconv_jax.models._layers import (
    check_images,
    check_outputs,
    check_planar,
    default_filters,
    scaled_width,
)
from gconv_jax.models._network import Network
from gconv_jax.nnx import GroupConv, LiftConv
from gconv_jax.ops.accumulation import accumulation_dtype
from gconv_jax.ops.once import once

DEPTH = 5
SMALLEST = DEPTH * 4 + 1
_init = compile_unoptimized(
    variance_scaling(1 / 3, "fan_in", "uniform")
)  # U(-b, b) with b = 1 / sqrt(fan_in)


class GroupEquivariantCNN(Network):
    """An invariant network of five 5x5 convolutions without padding.

    Layer normalization and ReLU follow each convolution; then come the mean over group and space
    and a linear layer. The network is from the course Deep Learning 2 of the University of
    Amsterdam, 2022, and S. Keydana's package gcnn for R. The normalization is over group, space and
    channels of an image together, without parameters (Ba et al. 2016, arXiv:1607.06450). There are
    102,970 parameters for P4. The plain network beside it (Z2) has 103,690 parameters, and biases
    in its convolutions, as published.

    Args:
        group: any group of the plane, e.g. ``cyclic(16)``; `Z2` for the plain network.
        filters: the filters, as in `gconv_jax.nnx.LiftConv`; by default pixels for symmetries of
            the lattice, and ``"harmonic"`` for finer rotations.
        width: the channels for each group element, by default ``32 / sqrt(|G|)``.
        use_bias: whether convolutions have biases; by default the plain network's alone.
        classes: the number of outputs; 0 for none, and a call returns `features`.
        in_features: the channels of the image.
        dtype: the dtype of computation.
        rngs: the random key ``params``.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax.models import GroupEquivariantCNN
    >>> model = GroupEquivariantCNN(rngs=nnx.Rngs(0))
    >>> model(jnp.ones((2, 28, 28, 1))).shape  # logits
    (2, 10)
    """

    def __init__(
        self,
        *,
        group: FiniteGroup = P4,
        filters: Filters | None = None,
        width: int | None = None,
        use_bias: bool | None = None,
        classes: int = 10,
        in_features: int = 1,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        check_planar(group)
        width = scaled_width(32, group) if width is None else width
        use_bias = group.order == 1 if use_bias is None else use_bias
        options = {"kernel_init": _init, "dtype": dtype, "rngs": rngs}
        filters = default_filters(group) if filters is None else filters
        conv_options = {"group": group, "filters": filters, "padding": "VALID", **options}
        conv_options["use_bias"] = use_bias
        taps = math.prod(filter_axes(filters, group, (5, 5)))
        bias_init = _uniform(taps * in_features)
        self.conv0 = LiftConv(in_features, width, 5, bias_init=bias_init, **conv_options)
        for i in range(1, DEPTH):
            bias_init = _uniform(taps * group.order * width)
            conv = GroupConv(width, width, 5, bias_init=bias_init, **conv_options)
            setattr(self, f"conv{i}", conv)
        self.classes = check_outputs(classes)
        if classes:
            self.linear = nnx.Linear(width, classes, bias_init=_uniform(width), **options)

    def feature_maps(self, x: jax.Array) -> jax.Array:
        """Return the feature maps ``[N, H, W, |G|, C]`` before the last layer."""
        check_images(x, SMALLEST)
        for i in range(DEPTH):
            x = nnx.relu(_layer_norm(getattr(self, f"conv{i}")(x)))
        return x

    def _outputs(self, maps: jax.Array) -> jax.Array:
        return self.linear(self._pool(maps))


def _layer_norm(x: jax.Array, epsilon: float = 1e-5) -> jax.Array:
    """Return ``(x - mean) / sqrt(var + epsilon)``, with moments over all axes of each image."""
    flat = x.reshape(x.shape[0], -1).astype(accumulation_dtype(x.dtype))
    mean = flat.mean(-1, keepdims=True)
    # E[x^2] - E[x]^2 would lose digits where the mean is large beside the deviation.
    var = jnp.square(flat - mean).mean(-1, keepdims=True)
    return ((flat - mean) * lax.rsqrt(var + epsilon)).astype(x.dtype).reshape(x.shape)


@once  # Flax compares networks by the identity of their initializers
def _uniform(fan_in: int) -> Initializer:
    """Return an initializer of biases: U(-b, b) with b = 1 / sqrt(fan_in), as for the weights."""
    bound = fan_in**-0.5

    def initialize(key: jax.Array, shape, dtype: DTypeLike = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return initialize  # pyright: ignore[reportReturnType]
