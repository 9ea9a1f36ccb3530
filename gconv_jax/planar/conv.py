"""The ordinary convolution that every layer goes through, with its two gradients.

GPU and TPU get XLA's own convolution. A CPU gets oneDNN's where that is installed; else XLA's
where it is the faster one, one matrix product for pointwise filters, and matrix products of patches
(`gconv_jax.planar.patches`) for the rest: the gradient by the filter, in which XLA is several times
slower, the input gradient with strides, and all of volumes and of tiny images
(benchmarks/planar_conv.py). Both gradients, and theirs, run the same code
(`gconv_jax.planar.primitive`).
"""

import contextlib
import functools
import math
import operator
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gconv_jax._native import onednn
from gconv_jax.ops.accumulation import long_dtype
from gconv_jax.planar import patches
from gconv_jax.planar.primitive import Convolution, Form, Shape, by_transposes, make_primitive

IMPLEMENTATIONS = ("auto", "xla", "patches", "onednn")
# With at most so many pixels in the result, of all images, XLA's way for symmetric padding is the
# faster one.
FEW_PIXELS = 4096
_implementation = "auto"


class Geometry(NamedTuple):
    """Where the windows of a convolution lie; ``spatial`` and ``kernel`` are sizes of x and w."""

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    spatial: tuple[int, ...]
    kernel: tuple[int, ...]

    @property
    def output(self) -> tuple[int, ...]:
        """Spatial sizes of y."""
        return tuple(
            max((n + low + high - (k - 1) * d - 1) // s + 1, 0)
            for n, (low, high), k, d, s in zip(
                self.spatial, self.padding, self.kernel, self.dilation, self.strides, strict=True
            )
        )

    @property
    def crops(self) -> bool:
        """Negative padding, which only the second derivative of a strided convolution, or the
        first one of a convolution with much padding, might have."""
        return min(min(pair) for pair in self.padding) < 0

    @property
    def adjoint(self) -> "Geometry":
        """Of the convolution with the reversed filter that gives the input gradient, from the
        cotangent with zeros between its pixels (`spread`)."""
        spread_ = tuple((m - 1) * s + 1 for m, s in zip(self.output, self.strides, strict=True))
        padding = tuple(
            ((k - 1) * d - low, n - m + low)
            for k, d, (low, _), n, m in zip(
                self.kernel, self.dilation, self.padding, self.spatial, spread_, strict=True
            )
        )
        ones = (1,) * len(self.strides)
        return self._replace(strides=ones, padding=padding, spatial=spread_)


def spread(g: jax.Array, geometry: Geometry) -> jax.Array:
    """``[N, *spatial, ...]`` with ``strides - 1`` zeros between its pixels."""
    interior = [(0, 0, s - 1) for s in geometry.strides]
    rest = [(0, 0, 0)] * (g.ndim - 1 - len(interior))
    return lax.pad(g, jnp.zeros((), g.dtype), [(0, 0, 0), *interior, *rest])


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
    """The ordinary convolution (correlation) that all layers go through.

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
    if feature_group_count > 1 or not jnp.issubdtype(x.dtype, jnp.inexact):
        return xla_conv(x, w, static, feature_group_count)
    return planar_form(Form.OUTPUT, x, w, static)


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
    """`planar_conv` with the arguments of ``jax.lax.conv_general_dilated``, for ordinary layers.

    Flax's own ``nnx.Conv`` and ``nn.Conv`` take a ``conv_general_dilated``: given this one they
    compute the same, and on a CPU as fast as the layers of this library. What `planar_conv` has
    not (a dilated input, groups of the batch, another type of sums, channels that are not last,
    more than three dimensions) goes to ``jax.lax``. Where oneDNN is installed, ``jax.export``
    refuses a program with it, as with all layers; `gconv_jax.export.stablehlo` does not.

    The arguments, the result and the errors are those of ``jax.lax.conv_general_dilated``.

    >>> from flax import nnx
    >>> import jax.numpy as jnp
    >>> from gconv_jax import conv_general_dilated
    >>> settings = {"conv_general_dilated": conv_general_dilated, "rngs": nnx.Rngs(0)}
    >>> nnx.Conv(3, 16, (5, 5), strides=2, **settings)(jnp.ones((8, 32, 32, 3))).shape
    (8, 16, 16, 16)
    """
    of_lax = functools.partial(
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
        return of_lax(lhs, rhs)
    jax.eval_shape(of_lax, lhs, rhs)  # raises what lax raises
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


@contextlib.contextmanager
def planar_implementation(name: str) -> Iterator[None]:
    """Force how planar convolutions are computed on a CPU, for tests and measurements.

    The choice is made while tracing, so this clears JAX's caches on both ends; it holds for all
    threads.

    Args:
        name: ``xla`` for XLA's convolution, ``patches`` for matrix products of patches,
            ``onednn`` for oneDNN (`gconv_jax._native.onednn`), or ``auto``, the default: oneDNN
            where it is installed, else the faster one of the others.
    """
    global _implementation
    if name not in IMPLEMENTATIONS:
        raise ValueError(f"`name` must be one of {', '.join(IMPLEMENTATIONS)}, got {name!r}")
    if name == "onednn" and not onednn.available():
        raise ValueError(f"`name` {name!r} needs oneDNN: pip install 'gconv_jax[cpu]'")
    before, _implementation = _implementation, name
    jax.clear_caches()
    try:
        yield
    finally:
        _implementation = before
        jax.clear_caches()


def cpu_implementation() -> str:
    """What ``auto`` stands for on a CPU; ``patches`` where XLA is not the faster one."""
    return "onednn" if onednn.available() else "patches"


class PlanarConv(NamedTuple):
    """The static part of a convolution."""

    geometry: Geometry
    precision: lax.PrecisionLike
    implementation: str


def make_static(
    spatial: Sequence[int],
    kernel: Sequence[int],
    *,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    precision: lax.PrecisionLike,
) -> PlanarConv:
    """The static part of a convolution, as it is computed now (`planar_implementation`)."""
    geometry = Geometry(
        strides=tuple(strides),
        padding=tuple((operator.index(low), operator.index(high)) for low, high in padding),
        dilation=tuple(dilation),
        spatial=tuple(spatial),
        kernel=tuple(kernel),
    )
    return PlanarConv(geometry, _canonical(precision), _implementation)


def _canonical(precision: lax.PrecisionLike) -> lax.PrecisionLike:
    """Hashable, and known to JAX, or it raises what JAX raises."""
    if precision is None:
        return None
    precision = tuple(precision) if isinstance(precision, list) else precision  # pyright: ignore[reportAssignmentType]
    one = jax.ShapeDtypeStruct((1, 1), jnp.float32)
    jax.eval_shape(lambda a: lax.dot(a, a, precision=precision), one)
    return precision


def _shape(form: Form, lhs: Shape, rhs: Shape, static: PlanarConv) -> Shape:
    geometry = static.geometry
    if form is Form.OUTPUT:
        return lhs[0], *geometry.output, rhs[-1]
    if form is Form.INPUT_GRADIENT:
        return lhs[0], *geometry.spatial, rhs[-2]
    return *geometry.kernel, lhs[-1], rhs[-1]


def xla_conv(x, w, static: PlanarConv, feature_group_count: int = 1) -> jax.Array:
    geometry = static.geometry
    spatial = "DHW"[-len(geometry.kernel) :]
    return lax.conv_general_dilated(
        x,
        w,
        window_strides=geometry.strides,
        padding=geometry.padding,
        rhs_dilation=geometry.dilation,
        dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
        feature_group_count=feature_group_count,
        precision=static.precision,
    )


def _xla(form: Form, lhs: jax.Array, rhs: jax.Array, static: PlanarConv) -> jax.Array:
    """Any form by XLA's convolution and its derivatives."""

    shape = _shape(form, lhs.shape, rhs.shape, static)
    return by_transposes(lambda x, w: xla_conv(x, w, static), form, lhs, rhs, shape)


def _cpu(form: Form, lhs: jax.Array, rhs: jax.Array, static: PlanarConv) -> jax.Array:
    implementation = static.implementation
    if implementation == "auto":
        implementation = cpu_implementation()
        if implementation == "patches" and _xla_is_faster(form, static.geometry, rhs.shape):
            implementation = "xla"
    dtype = lhs.dtype
    # Short types are summed in float32, as the matrix units of other devices do.
    long = long_dtype(dtype)
    lhs, rhs = lhs.astype(long), rhs.astype(long)
    shape = _shape(form, lhs.shape, rhs.shape, static)
    if 0 in lhs.shape or 0 in rhs.shape or 0 in shape:
        return _xla(form, lhs, rhs, static).astype(dtype)
    if implementation == "xla":
        if form is Form.INPUT_GRADIENT and max(static.geometry.strides) == 1:
            # Written as what it is: XLA's own is several times slower in a loop.
            rhs = jnp.flip(rhs, range(rhs.ndim - 2)).swapaxes(-1, -2)
            form, static = Form.OUTPUT, static._replace(geometry=static.geometry.adjoint)
        if form is Form.OUTPUT and static.implementation == "auto":
            return _xla_in_its_faster_way(lhs, rhs, static).astype(dtype)
        return _xla(form, lhs, rhs, static).astype(dtype)
    if implementation == "onednn" and long == jnp.float32 and not static.geometry.crops:
        return _onednn(form, lhs, rhs, static.geometry).astype(dtype)
    compute = {
        Form.OUTPUT: patches.conv,
        Form.INPUT_GRADIENT: patches.input_gradient,
        Form.FILTER_GRADIENT: patches.filter_gradient,
    }[form]
    return compute(lhs, rhs, static.geometry).astype(dtype)


def _xla_is_faster(form: Form, geometry: Geometry, filter_shape: Shape) -> bool:
    """Than patches: measured with jaxlib 0.10 and 0.12 (benchmarks/xla_conv.py)."""
    if form is Form.FILTER_GRADIENT:
        return False
    if form is Form.OUTPUT and patches.is_short(geometry, filter_shape[-2]):
        return True  # images of one or three channels: there is little to multiply
    if len(geometry.kernel) > 2 or math.prod(geometry.kernel) == 1:
        return False
    if form is Form.INPUT_GRADIENT:
        if max(geometry.strides) > 1:
            return False
        geometry = geometry.adjoint
    return all(n > 2 for n in geometry.output if isinstance(n, int))  # else under jax.export


def _xla_in_its_faster_way(x: jax.Array, w: jax.Array, static: PlanarConv) -> jax.Array:
    """On a CPU XLA has two ways to convolve planes, and with symmetric padding, or none, takes the
    one that is mostly the slower. So one column of zeros is added, and its results are cut off. As
    it is, XLA is faster if the image grows, or has few pixels, or few channels
    (benchmarks/xla_conv.py)."""
    geometry = static.geometry
    if (
        len(geometry.kernel) != 2
        or any(low != high for low, high in geometry.padding)
        or patches.is_short(geometry, w.shape[-2])
        or not all(isinstance(n, int) for n in (x.shape[0], *geometry.spatial))  # jax.export
    ):
        return xla_conv(x, w, static)
    low, high = geometry.padding[-1]
    few = low > 0 and x.shape[0] * math.prod(geometry.output) <= FEW_PIXELS
    if few or geometry.output[-1] > geometry.spatial[-1]:
        return xla_conv(x, w, static)
    padding = (geometry.padding[0], (low + geometry.strides[-1], high))
    return xla_conv(x, w, static._replace(geometry=geometry._replace(padding=padding)))[..., 1:, :]


def _onednn(form: Form, lhs: jax.Array, rhs: jax.Array, geometry: Geometry) -> jax.Array:
    strides, padding, dilation, spatial, kernel = geometry
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    if form is Form.OUTPUT:
        return onednn.conv(lhs, rhs, **options)
    if form is Form.INPUT_GRADIENT:
        return onednn.input_gradient(lhs, rhs, spatial=spatial, **options)
    return onednn.filter_gradient(lhs, rhs, kernel=kernel, **options)


planar_form = make_primitive(
    Convolution("gconv_jax_planar_conv", _shape, default=_xla, cpu=_cpu, channels_last=True)
)
