"""Convolution over time, of sequences whose steps are features on the group."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from gconv_jax.conv.algorithm import Algorithm
from gconv_jax.conv.linear import group_linear
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.groups.irrep_features import (
    IrrepFeatures,
    SameFeatures,
    batch_axes,
    check_features,
)
from gconv_jax.ops.arguments import check_integer

TimePadding = Literal["SAME", "CAUSAL", "VALID"]


def sequence_conv(
    x: SameFeatures,
    w: jax.Array,
    *,
    group: FiniteGroup,
    bias: jax.Array | None = None,
    stride: int = 1,
    dilation: int = 1,
    padding: TimePadding = "SAME",
    dtype: DTypeLike | None = None,
    precision: lax.PrecisionLike = None,
    algorithm: Algorithm = "auto",
) -> SameFeatures:
    """Return the correlation over time of features on the group, which commutes with the group.

    ``y(t, g) = sum_{i, h} x(stride t + dilation i - p, h) w(i, g^-1 h) + b``: the group turns what
    happens at each step and leaves time alone, ``sequence_conv(L_g x) == L_g sequence_conv(x)``
    with ``(L_g x)(t, h) = x(t, g^-1 h)``. It is a `group_linear` of k neighboring steps. Vectors at
    each step, such as those of trajectories, become features by `lift_linear`.

    Args:
        x: sequences ``[..., T, |G|, C_in]``, or `IrrepFeatures` of them.
        w: ``[k, |G|, C_in, C_out]``.
        group: any finite group.
        bias: ``[C_out]``, shared by all elements.
        stride: the steps from one output to the next.
        dilation: the steps from one tap to the next.
        padding: zeros before and after: ``SAME`` for ``ceil(T / stride)`` steps of output,
            ``CAUSAL`` likewise with all zeros in front, so that no output sees a later step, or
            ``VALID`` for none.
        dtype, precision, algorithm: as in `group_linear`.

    Returns:
        ``[..., T', |G|, C_out]``, or `IrrepFeatures` of them.

    Raises:
        ValueError, TypeError: shapes that do not fit, or unknown options.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, sequence_conv
    >>> x, w = jnp.ones((2, 100, 4, 16)), jnp.ones((5, 4, 16, 32))
    >>> sequence_conv(x, w, group=P4, padding="CAUSAL", stride=2).shape
    (2, 50, 4, 32)
    """
    check_group(group)
    w = jnp.asarray(w)
    if w.ndim != 4 or w.shape[0] < 1 or w.shape[1] != group.order:
        raise ValueError(f"`w` must be [k, |G|={group.order}, C_in, C_out], got shape {w.shape}")
    k, order, c_in, c_out = w.shape
    x = check_features(x, group, c_in)
    if not batch_axes(x):
        raise ValueError("`x` must have an axis of time in front of the group axis")
    check_integer("stride", stride, least=1)
    check_integer("dilation", dilation, least=1)
    steps, reach = batch_axes(x)[-1], (k - 1) * dilation
    before, after = _zeros(padding, steps, reach, stride)
    if steps + before + after <= reach:
        raise ValueError(
            f"`x` must have more than {reach} steps for a kernel of {k} and {dilation=} with "
            f"padding {padding!r}, got {steps}"
        )

    def neighbors(a: jax.Array) -> jax.Array:
        """Return the channels of k neighboring steps beside each other."""
        axis = a.ndim - (4 if isinstance(x, IrrepFeatures) else 3)
        a = jnp.pad(a, [(before, after) if i == axis else (0, 0) for i in range(a.ndim)])
        last = steps + before + after - reach
        taps = (
            lax.slice_in_dim(a, i * dilation, i * dilation + last, stride, axis) for i in range(k)
        )
        return jnp.concatenate(list(taps), -1)

    return group_linear(
        x.map(neighbors) if isinstance(x, IrrepFeatures) else neighbors(x),
        jnp.moveaxis(w, 0, 1).reshape(order, k * c_in, c_out),
        group=group,
        bias=bias,
        dtype=dtype,
        precision=precision,
        algorithm=algorithm,
    )


def _zeros(padding: TimePadding, steps: int, reach: int, stride: int) -> tuple[int, int]:
    """Return the numbers of zeros in front of the first step and behind the last."""
    check_padding(padding)
    if padding == "VALID":
        return 0, 0
    if padding == "CAUSAL":
        return reach, 0
    total = max((-(-steps // stride) - 1) * stride + 1 + reach - steps, 0)
    return total // 2, total - total // 2


def check_padding(padding: TimePadding) -> TimePadding:
    """Return ``padding``; ValueError if it is none of those that `sequence_conv` knows."""
    if padding not in get_args(TimePadding):
        raise ValueError(f"`padding` must be 'SAME', 'CAUSAL' or 'VALID', got {padding!r}")
    return padding
