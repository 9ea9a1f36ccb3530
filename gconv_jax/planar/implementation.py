"""The ways to compute a planar convolution on each platform, and the choice between them."""

import contextlib
import functools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gconv_jax._native import door
from gconv_jax.ops.accumulation import accumulation_dtype
from gconv_jax.ops.arguments import spatial_axes
from gconv_jax.planar import blocks, patches, winograd
from gconv_jax.planar.geometry import Geometry
from gconv_jax.planar.primitive import Convolution, Form, Shape, by_transposes, make_primitive

IMPLEMENTATIONS = ("auto", "xla", "patches", "blocks", "winograd", "onednn")
# Up to so many pixels in all results together, XLA's way for symmetric padding is the faster one.
FEW_PIXELS = 4096
_implementation = "auto"


@contextlib.contextmanager
def planar_implementation(name: str) -> Iterator[None]:
    """Force how planar convolutions are computed on a CPU, for tests and measurements.

    The choice is made while tracing, so this clears JAX's caches on both ends; it holds for all
    threads.

    Args:
        name: ``xla`` for XLA's convolution, ``patches`` for matrix products of patches,
            ``blocks`` for the same with blocks of pixels in place of strides, ``winograd`` for
            fewer of them where filters have three taps on each axis, both with patches elsewhere,
            ``onednn`` for oneDNN (`gconv_jax._native`), or ``auto``, the default: oneDNN
            where it is installed, else the fastest one of the others.
    """
    global _implementation
    if name not in IMPLEMENTATIONS:
        raise ValueError(f"`name` must be one of {', '.join(IMPLEMENTATIONS)}, got {name!r}")
    if name == "onednn" and not door.available("onednn"):
        raise ValueError(f"`name` {name!r} needs oneDNN: pip install 'gconv_jax[cpu]'")
    before, _implementation = _implementation, name
    jax.clear_caches()
    try:
        yield
    finally:
        _implementation = before
        jax.clear_caches()


def cpu_implementation() -> str:
    """Return the way that ``auto`` prefers on a CPU: oneDNN, or patches where XLA is not faster."""
    return "onednn" if door.available("onednn") else "patches"


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
    """Return the static part of a convolution, as it is computed now (`planar_implementation`)."""
    geometry = Geometry(
        strides=tuple(strides),
        padding=tuple((operator.index(low), operator.index(high)) for low, high in padding),
        dilation=tuple(dilation),
        spatial=tuple(spatial),
        kernel=tuple(kernel),
    )
    return PlanarConv(geometry, _canonical(precision), _implementation)


def _canonical(precision: lax.PrecisionLike) -> lax.PrecisionLike:
    """Return the precision in a hashable form, or raise what JAX raises for an unknown one."""
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
    spatial = spatial_axes(len(geometry.kernel))
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
    """Return any form, computed by XLA's convolution and its derivatives."""
    shape = _shape(form, lhs.shape, rhs.shape, static)
    return by_transposes(lambda x, w: xla_conv(x, w, static), form, lhs, rhs, shape)


def choose_implementation(
    form: Form, lhs: Shape, rhs: Shape, static: PlanarConv, dtype, *, best: str
) -> str:
    """Return how a form is computed on a CPU: a name of `_COMPUTE`.

    Args:
        lhs, rhs: the shapes of the operands.
        dtype: of the computation.
        best: the result of `cpu_implementation`, which ``auto`` stands for.
    """
    geometry, name = static.geometry, static.implementation
    if 0 in (*lhs, *rhs, *_shape(form, lhs, rhs, static)):
        return "transposes"
    if name == "auto":
        name = best
        if name == "patches" and _blocks_are_faster(form, geometry, rhs):
            return "blocks"
        if name == "patches" and _xla_is_faster(form, geometry, rhs):
            return "column"
    if name == "onednn" and (dtype != jnp.float32 or geometry.crops):
        name = "patches"
    possible = winograd.is_possible(geometry)
    if name == "patches" and static.implementation == "auto" and possible:
        c_in = lhs[-1] if form is Form.FILTER_GRADIENT else rhs[-2]
        if winograd.is_faster(geometry, c_in, rhs[-1], jnp.dtype(dtype).itemsize):
            name = "winograd"
    if name == "blocks" and not blocks.is_possible(geometry):
        name = "patches"
    return "patches" if name == "winograd" and not possible else name


def _cpu(form: Form, lhs: jax.Array, rhs: jax.Array, static: PlanarConv) -> jax.Array:
    # Short types are summed in float32, as the matrix units of other devices do.
    dtype, long = lhs.dtype, accumulation_dtype(lhs.dtype)
    lhs, rhs = lhs.astype(long), rhs.astype(long)
    best = cpu_implementation()
    name = choose_implementation(form, lhs.shape, rhs.shape, static, long, best=best)
    return _COMPUTE[name](form, lhs, rhs, static).astype(dtype)


def _xla_by_adjoint(form: Form, lhs: jax.Array, rhs: jax.Array, static: PlanarConv, conv=None):
    """Return any form, computed by XLA. An input gradient without strides is written as the
    convolution that it is, since XLA's own gradient is several times slower in a loop."""
    if form is Form.INPUT_GRADIENT and max(static.geometry.strides) == 1:
        rhs, static = _adjoint(rhs, static)
        form = Form.OUTPUT
    if form is Form.OUTPUT and conv is not None:
        return conv(lhs, rhs, static)
    return _xla(form, lhs, rhs, static)


def _adjoint(w: jax.Array, static: PlanarConv) -> tuple[jax.Array, PlanarConv]:
    """Return the filter and the geometry of the convolution that gives the input gradient."""
    w = jnp.flip(w, range(w.ndim - 2)).swapaxes(-1, -2)
    return w, static._replace(geometry=static.geometry.adjoint)


def _patches(form: Form, lhs: jax.Array, rhs: jax.Array, static: PlanarConv) -> jax.Array:
    compute = {
        Form.OUTPUT: patches.conv,
        Form.INPUT_GRADIENT: patches.input_gradient,
        Form.FILTER_GRADIENT: patches.filter_gradient,
    }[form]
    return compute(lhs, rhs, static.geometry)


def _blocks(form: Form, lhs: jax.Array, rhs: jax.Array, static: PlanarConv) -> jax.Array:
    """Return any form of a strided convolution, computed by that of one without strides."""
    geometry = static.geometry
    inner = static._replace(geometry=blocks.of_blocks(geometry))
    if form is Form.FILTER_GRADIENT:
        lhs = blocks.to_blocks(lhs, geometry)
        return blocks.filter_from_blocks(_cpu(form, lhs, rhs, inner), geometry)
    rhs = blocks.filter_to_blocks(rhs, geometry)
    if form is Form.OUTPUT:
        return _cpu(form, blocks.to_blocks(lhs, geometry), rhs, inner)
    return blocks.from_blocks(_cpu(form, lhs, rhs, inner), geometry)


def _winograd(form: Form, lhs: jax.Array, rhs: jax.Array, static: PlanarConv) -> jax.Array:
    if form is Form.FILTER_GRADIENT:
        return winograd.filter_gradient(lhs, rhs, static.geometry)
    if form is Form.INPUT_GRADIENT:
        rhs, static = _adjoint(rhs, static)
    return winograd.conv(lhs, rhs, static.geometry)


def _blocks_are_faster(form: Form, geometry: Geometry, filter_shape: Shape) -> bool:
    """Return whether blocks of pixels are faster than strides, measured with jaxlib 0.10
    (benchmarks/strides.py)."""
    if not blocks.is_possible(geometry):
        return False
    apart = geometry.kernel == geometry.strides
    if form is Form.OUTPUT and patches.is_short(geometry, filter_shape[-2]):
        return apart and len(geometry.kernel) > 2  # XLA is slow for volumes alone
    if form is Form.INPUT_GRADIENT:
        return not apart and filter_shape[-2] > 1
    return apart


def _xla_is_faster(form: Form, geometry: Geometry, filter_shape: Shape) -> bool:
    """Return whether XLA is faster than patches, measured with jaxlib 0.10 and 0.12
    (benchmarks/xla_conv.py)."""
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
    """Return XLA's convolution, computed in the faster of its two ways on a CPU.

    For symmetric padding, or none, XLA takes the way that is mostly the slower. One more column of
    zeros makes it take the other; the results of that column are cut off. Without the column XLA is
    faster if the image grows, or has few pixels, or few channels (benchmarks/xla_conv.py).
    """
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


def _onednn(form: Form, lhs: jax.Array, rhs: jax.Array, static: PlanarConv) -> jax.Array:
    if static.geometry.is_pointwise and lhs.shape[0] > 1:
        return on_one_image(_onednn, form, lhs, rhs, static)
    strides, padding, dilation, spatial, kernel = static.geometry
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    if form is Form.OUTPUT:
        return door.conv(lhs, rhs, **options)
    if form is Form.INPUT_GRADIENT:
        return door.input_gradient(lhs, rhs, spatial=spatial, **options)
    return door.filter_gradient(lhs, rhs, kernel=kernel, **options)


def on_one_image(compute: Callable, form: Form, lhs, rhs, static: PlanarConv) -> jax.Array:
    """Return a form of a pointwise convolution, computed as that of a single image.

    Machine code divides the pixels of an image among the threads, and takes one image after the
    other. The pixels of many small ones are few for that: 3,136 images of one pixel took four times
    as long as one image of 3,136 pixels.
    """
    shape = _shape(form, lhs.shape, rhs.shape, static)
    geometry = static.geometry.of_one_image(math.prod(lhs.shape[:-1]))
    lhs = lhs.reshape(1, *geometry.spatial, lhs.shape[-1])
    if form is Form.FILTER_GRADIENT:
        rhs = rhs.reshape(1, *geometry.spatial, rhs.shape[-1])
    return compute(form, lhs, rhs, static._replace(geometry=geometry)).reshape(shape)


# The ways to compute a form on a CPU, by name: XLA's convolution and its derivatives; the same with
# input gradients as convolutions; that with one more column where it is faster; im2col products;
# these with blocks of pixels in place of strides; fewer products for filters of three taps; oneDNN.
_COMPUTE = {
    "transposes": _xla,
    "xla": _xla_by_adjoint,
    "column": functools.partial(_xla_by_adjoint, conv=_xla_in_its_faster_way),
    "patches": _patches,
    "blocks": _blocks,
    "winograd": _winograd,
    "onednn": _onednn,
}

planar_form = make_primitive(
    Convolution("gconv_jax_planar_conv", _shape, default=_xla, cpu=_cpu, channels_last=True)
)
