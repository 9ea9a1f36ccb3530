"""The ordinary convolution that every layer goes through, with its two gradients.

GPU and TPU get XLA's own convolution. A CPU gets oneDNN's where that is installed. Otherwise it
gets XLA's where XLA is faster, and im2col products (`gconv_jax.planar.patches`) for the rest: the
filter gradient, in which XLA is several times slower, the input gradient with strides, volumes and
tiny images (benchmarks/planar_conv.py). Gradients of every order run the same code
(`gconv_jax.planar.primitive`). Integers get im2col products everywhere, since XLA has no
convolution of most integers on a GPU.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from gconv_jax.planar import patches
from gconv_jax.planar.geometry import Geometry
from gconv_jax.planar.implementation import make_static, planar_form, xla_conv
from gconv_jax.planar.primitive import Form, Shape


def planar_conv(
    x: jax.Array,
    w: jax.Array,
    *,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    feature_group_count: int = 1,
    precision: lax.PrecisionLike = None,
) -> jax.Array:
    """Return the ordinary convolution (correlation) that all layers go through.

    ``y[n, p, o] = sum_t sum_i x[n, s p + d t - low, i] w[t, i, o]``, zero outside the image.

    Args:
        x: ``[N, *spatial, C_in]`` with one, two or three spatial axes.
        w: ``[*kernel, C_in / feature_group_count, C_out]`` of the same dtype.
        strides, dilation: one integer for each spatial axis.
        padding: zeros (low, high) before and after each spatial axis.
        feature_group_count: parts of the channels that are convolved apart; with more than one
            this is XLA's own convolution.
        precision: as in ``jax.lax``; on a CPU every product is exact to the dtype.

    Returns:
        ``[N, *spatial', C_out]``.

    Raises:
        ValueError: shapes, dtypes or settings that do not fit.
    """
    rank = x.ndim - 2
    if w.ndim != x.ndim or x.shape[-1] != feature_group_count * w.shape[-2] or x.dtype != w.dtype:
        raise ValueError(
            "`x` must be [N, *spatial, C_in] and `w` [*kernel, C_in / feature_group_count, C_out] "
            f"of one dtype, got {x.dtype}{list(x.shape)} and {w.dtype}{list(w.shape)} with "
            f"feature_group_count={feature_group_count}"
        )
    for name, values in {"strides": strides, "dilation": dilation}.items():
        if len(values) != rank or min(values) < 1:
            raise ValueError(f"`{name}` must be {rank} positive integers, got {values!r}")
    if len(padding) != rank:
        raise ValueError(f"`padding` must be {rank} pairs (low, high), got {padding!r}")
    static = make_static(
        x.shape[1 : 1 + rank],
        w.shape[:rank],
        strides=strides,
        padding=padding,
        dilation=dilation,
        precision=precision,
    )
    if jnp.issubdtype(x.dtype, jnp.integer):
        return _integers(x, w, static.geometry, feature_group_count)
    if feature_group_count > 1 or not jnp.issubdtype(x.dtype, jnp.inexact):
        return xla_conv(x, w, static, feature_group_count)
    return planar_form(Form.OUTPUT, x, w, static)


def _integers(x: jax.Array, w: jax.Array, geometry: Geometry, groups: int) -> jax.Array:
    shape = (x.shape[0], *geometry.output, w.shape[-1])
    if 0 in (*x.shape, *w.shape, *shape):
        return jnp.zeros(shape, x.dtype)
    x = x.reshape(*x.shape[:-1], groups, -1)
    w = w.reshape(*w.shape[:-1], groups, -1)
    conv = jax.vmap(functools.partial(patches.conv, geometry=geometry), (-2, -2), -2)
    return conv(x, w).reshape(shape)


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: lax.ConvGeneralDilatedDimensionNumbers = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: lax.PrecisionLike = None,
    preferred_element_type: jax.typing.DTypeLike | None = None,
    **options,
) -> jax.Array:
    """Return `planar_conv` with the arguments of ``jax.lax.conv_general_dilated``.

    Flax's own ``nnx.Conv`` and ``nn.Conv`` take a ``conv_general_dilated``: given this one they
    compute the same, and on a CPU as fast as the layers of this library. Cases that `planar_conv`
    lacks (a dilated input, groups of the batch, another type of sums, channels that are not last,
    more than three dimensions) go to ``jax.lax``. Where oneDNN is installed, ``jax.export`` refuses
    programs that call it, those of all layers included; `gconv_jax.export.stablehlo` does not.

    The arguments, the result and the errors are those of ``jax.lax.conv_general_dilated``.

    >>> from flax import nnx
    >>> import jax.numpy as jnp
    >>> from gconv_jax import conv_general_dilated
    >>> settings = {"conv_general_dilated": conv_general_dilated, "rngs": nnx.Rngs(0)}
    >>> nnx.Conv(3, 16, (5, 5), strides=2, **settings)(jnp.ones((8, 32, 32, 3))).shape
    (8, 16, 16, 16)
    """
    lax_conv = functools.partial(
        lax.conv_general_dilated,
        window_strides=window_strides,
        padding=padding,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=dimension_numbers,
        feature_group_count=feature_group_count,
        batch_group_count=batch_group_count,
        precision=precision,
        preferred_element_type=preferred_element_type,
        **options,
    )
    rank = lhs.ndim - 2
    if (
        not 1 <= rank <= 3
        or (lhs_dilation is not None and any(d != 1 for d in lhs_dilation))
        or not _channels_last(lhs.shape, rhs.shape, dimension_numbers)
        or batch_group_count != 1
        or preferred_element_type is not None
        or any(option is not None for option in options.values())
    ):
        return lax_conv(lhs, rhs)
    jax.eval_shape(lax_conv, lhs, rhs)  # raises what lax raises
    dilation = (1,) * rank if rhs_dilation is None else rhs_dilation
    if isinstance(padding, str):
        spatial = lhs.shape[1:-1]
        window = [(k - 1) * d + 1 for k, d in zip(rhs.shape[:rank], dilation, strict=True)]
        padding = lax.padtype_to_pads(spatial, window, window_strides, padding)
    return planar_conv(
        lhs,
        rhs,
        strides=window_strides,
        padding=padding,
        dilation=dilation,
        feature_group_count=feature_group_count,
        precision=precision,
    )


def _channels_last(
    lhs: Shape, rhs: Shape, dimension_numbers: lax.ConvGeneralDilatedDimensionNumbers
) -> bool:
    last = len(lhs) - 1
    spatial = tuple(range(1, last))
    image = (0, last, *spatial)
    return lax.conv_dimension_numbers(lhs, rhs, dimension_numbers) == lax.ConvDimensionNumbers(
        image, (last, last - 1, *range(last - 1)), image
    )
