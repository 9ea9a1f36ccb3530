"""Group convolution by a Fourier transform over the group.

A filter bank repeats every weight |G| times. Indexed by orbits it is a correlation over the
group for each tap t of the base filter: with ``X_t[s](p) = x[p + s t, s]`` and
``Psi_t[u] = psi[u t, u]``,

    y[r] = sum_t sum_s X_t[s] Psi_t[r^-1 s].

A Fourier transform ``f^[i, k] = sum_s f[s] rho(s)[i, k]`` over the real irreducible
representations rho turns every correlation into matrix products, ``y^ = sum_t X_t^ Psi_t^T``. The
multiplications for a pixel fall from ``taps |G|^2 C_in C_out`` to
``taps C_in C_out sum_rho d^3 / e``, d being the dimension of rho and e that of its commutant. An
irrep of complex type takes three quarters of that (`gconv_jax.groups.correlation`). All together
they fall by 3.2 for P4 and by 5.3 for P4M.
"""

import functools
import math
import operator
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from gconv_jax._native import door
from gconv_jax.filters.bank import filter_bank, gather_table
from gconv_jax.groups.correlation import correlation_products
from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.ops.accumulation import accumulation_dtype
from gconv_jax.ops.channels import merge_channels
from gconv_jax.ops.chunks import map_in_chunks
from gconv_jax.planar.geometry import spread
from gconv_jax.planar.implementation import (
    PlanarConv,
    cpu_implementation,
    make_static,
    planar_form,
)
from gconv_jax.planar.primitive import Convolution, Form, Shape, make_primitive, transpose

Platform = Literal["cpu", "other"]
Side = Literal["left", "result"]


# The size of the feature maps that a CPU takes at a time, so that patches stay in its cache.
CHUNK_BYTES = 2**20
# Sums over the group are written out, with the zeros of sparse irreps left out, up to this order.
WRITTEN_OUT = 16
# Patches of more elements than this are gathered: 324 slices, for 3x3x3 taps and 12 elements, took
# 20 s to compile. Slices run faster, by a factor of two for 7x7 taps and the 8 elements of P4M.
SLICED = 8


def is_gathered(group: FiniteGroup, kernel: Sequence[int]) -> bool:
    """Return whether patches are gathered from one copy, since there would be too many slices."""
    return group.order > SLICED and math.prod(kernel) > 1


def is_native(group: FiniteGroup, dtype: DTypeLike) -> bool:
    """Return whether a CPU computes the transform in machine code that is made for the group
    (`gconv_jax._native`)."""
    return (
        accumulation_dtype(dtype) == jnp.float32
        and group.order <= door.MOST_ELEMENTS
        and door.available("fourier")
    )


def cpu_way(group: FiniteGroup, dtype: DTypeLike) -> str:
    """Return which way of `gconv_jax.conv.algorithm.COST_OF_TRANSFORM` a CPU computes the transform
    in. It loads LLVM, if that is installed."""
    if is_native(group, dtype):
        return f"native, {door.arithmetic()}"
    way = cpu_implementation()
    return "patches, short" if way == "patches" and door.arithmetic() == "short" else way


def fourier_conv(
    x: jax.Array,
    w: jax.Array,
    *,
    group: FiniteGroup,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    precision: lax.PrecisionLike = None,
    platforms: tuple[Platform, ...] = ("cpu", "other"),
) -> jax.Array:
    """Return the group convolution of `gconv_jax.group_conv`, with zero padding in pixels.

    Args:
        x: ``[N, *spatial, |G|, C_in]``.
        w: base filter ``[*kernel, |G|, C_in, C_out]`` of the same dtype.
        group, strides, padding, dilation, precision: as in `gconv_jax.planar_conv`.
        platforms: those that use the transform; others convolve with the dense filter bank.

    Returns:
        ``[N, *spatial', |G|, C_out]``.
    """
    planar = make_static(
        x.shape[1 : 1 + group.dimension],
        w.shape[: group.dimension],
        strides=strides,
        padding=padding,
        dilation=dilation,
        precision=precision,
    )
    return fourier_form(Form.OUTPUT, x, w, _Static(group, planar, platforms))


class _Static(NamedTuple):
    group: FiniteGroup
    planar: PlanarConv
    platforms: tuple[Platform, ...]


def _shape(form: Form, lhs: Shape, rhs: Shape, static: _Static) -> Shape:
    group, geometry = static.group, static.planar.geometry
    if form is Form.OUTPUT:
        return lhs[0], *geometry.output, group.order, rhs[-1]
    if form is Form.INPUT_GRADIENT:
        return lhs[0], *geometry.spatial, group.order, rhs[-2]
    return *geometry.kernel, group.order, lhs[-1], rhs[-1]


def _default(form: Form, lhs: jax.Array, rhs: jax.Array, static: _Static) -> jax.Array:
    if "other" not in static.platforms:
        return _dense(form, lhs, rhs, static)
    return _fourier(form, lhs, rhs, static, None)


def _cpu(form: Form, lhs: jax.Array, rhs: jax.Array, static: _Static) -> jax.Array:
    if "cpu" not in static.platforms:
        return _dense(form, lhs, rhs, static)
    dtype = lhs.dtype
    # Short types are summed in float32, as the matrix units of other devices do.
    long = accumulation_dtype(dtype)
    lhs, rhs = lhs.astype(long), rhs.astype(long)
    shape = _shape(form, lhs.shape, rhs.shape, static)
    images = [shape, lhs.shape] if form is not Form.FILTER_GRADIENT else [lhs.shape, rhs.shape]
    values = max(math.prod(image[1:]) for image in images)
    chunk = CHUNK_BYTES // max(values * lhs.dtype.itemsize, 1)
    native = (
        static.planar.implementation in ("auto", "onednn")
        and is_native(static.group, long)
        and all(isinstance(n, int) for n in (*lhs.shape, *rhs.shape))  # else under jax.export
    )
    return _fourier(form, lhs, rhs, static, chunk, native).astype(dtype)


def _dense(form: Form, lhs: jax.Array, rhs: jax.Array, static: _Static) -> jax.Array:
    """Return any form, computed by the filter bank."""
    group, planar, _ = static
    shape = _shape(form, lhs.shape, rhs.shape, static)

    def bank(w):
        return filter_bank(w, group=group)

    if form is not Form.FILTER_GRADIENT:
        return planar_form(form, merge_channels(lhs), bank(rhs), planar).reshape(shape)
    return transpose(
        bank, shape, planar_form(form, merge_channels(lhs), merge_channels(rhs), planar)
    )


def _fourier(form: Form, lhs, rhs, static: _Static, chunk: int | None, native: bool = False):
    shape, dtype = _shape(form, lhs.shape, rhs.shape, static), lhs.dtype
    if 0 in lhs.shape or 0 in rhs.shape or 0 in shape:
        return jnp.zeros(shape, dtype)
    if form is Form.INPUT_GRADIENT:
        lhs, rhs, geometry = _adjoint(lhs, rhs, static)
        static = static._replace(planar=static.planar._replace(geometry=geometry))
    transform = _Transform(static)
    native = native and not static.planar.geometry.crops
    filter_spectrum = functools.partial(transform.filter_spectrum, taps_first=native)
    if native and static.planar.geometry.is_pointwise and lhs.shape[0] > 1:
        # The input gradient has become an output by now.
        same = form if form is Form.FILTER_GRADIENT else Form.OUTPUT
        return _on_one_image(same, lhs, rhs, static).reshape(shape)
    if form is Form.FILTER_GRADIENT:
        if native:
            spectrum = door.fourier_filter_gradient(lhs, rhs, **transform.native)
        else:
            spectrum = map_in_chunks(transform.filter_gradient, (lhs, rhs), chunk, add=True)
        return transpose(filter_spectrum, shape, spectrum).astype(dtype)
    spectrum = filter_spectrum(rhs)
    if native:
        spatial = transform.geometry.output
        return door.fourier_output(lhs, spectrum, spatial=spatial, **transform.native)
    return map_in_chunks(lambda x: transform.output(x, spectrum), (lhs,), chunk).astype(dtype)


def _on_one_image(form: Form, lhs, rhs, static: _Static) -> jax.Array:
    """Return a form of a pointwise convolution in machine code, with all pixels in one image, since
    it divides the pixels of an image among the threads (`gconv_jax.planar.implementation`)."""
    geometry = static.planar.geometry.of_one_image(math.prod(lhs.shape[:-2]))
    lhs = lhs.reshape(1, *geometry.spatial, *lhs.shape[-2:])
    if form is Form.FILTER_GRADIENT:
        rhs = rhs.reshape(1, *geometry.spatial, *rhs.shape[-2:])
    static = static._replace(planar=static.planar._replace(geometry=geometry))
    return _fourier(form, lhs, rhs, static, None, native=True)


def _adjoint(g: jax.Array, w: jax.Array, static: _Static):
    """The input gradient as the convolution of g with ``psi*(a, h) = psi(-h^-1 a, h^-1)^T``.
    Strides put zeros between the pixels of g."""
    group, geometry = static.group, static.planar.geometry
    kernel, taps = geometry.kernel, math.prod(geometry.kernel)
    table = gather_table(group, kernel, True)  # [a, h]: the tap h^-1 a
    flat = w.reshape(taps, *w.shape[-3:])
    w = flat[taps - 1 - table, group.inverse[None]].swapaxes(-1, -2)
    w = w.reshape(*kernel, *w.shape[1:])
    return spread(g, geometry), w, geometry.adjoint


class _Transform:
    """The transforms of one convolution, and the matrix products between them."""

    def __init__(self, static: _Static):
        self.group, self.geometry = static.group, static.planar.geometry
        self.precision = static.planar.precision
        self.products = correlation_products(self.group)
        table = gather_table(self.group, self.geometry.kernel, True)
        self.tap_of = table[:, self.group.inverse]  # [t, s]: the tap s t
        places = np.unravel_index(self.tap_of, self.geometry.kernel)
        # Where the slice of each tap and element begins in the padded image.
        self.starts = np.stack(places, -1) * self.geometry.dilation

    @property
    def native(self) -> dict:
        """The arguments of the machine code that describe this transform."""
        patches = door.Patches(self.starts, self.geometry.strides, self.geometry.padding)
        return {"products": self.products, "patches": patches}

    def filter_spectrum(self, w: jax.Array, taps_first: bool = False) -> list[jax.Array]:
        """``Psi_t^[j, k]`` for each product: ``[d taps C_in, d C_out]``, k and j slow, or the tap
        slow and then k, so that the rows of a few taps lie together."""
        w = w.reshape(len(self.tap_of), *w.shape[-3:])
        psi = w[self.tap_of, np.arange(self.group.order)]  # [t, u, C_in, C_out]
        spectrum, order = [], "tkijo" if taps_first else "ktijo"
        for product in self.products:
            right = jnp.asarray(product.right, psi.dtype)
            part = jnp.einsum(f"tuio,jku->{order}", psi, right, precision=lax.Precision.HIGHEST)
            spectrum.append(part.reshape(-1, product.dimension * w.shape[-1]))
        return spectrum

    def output(self, x: jax.Array, spectrum: list[jax.Array]) -> jax.Array:
        """``[N, *spatial', |G|, C_out]`` from images and the transformed filter."""
        y = [
            self._dot(row, part)
            for rows, part in zip(self._transform(self._orbits(x), "left"), spectrum, strict=True)
            for row in rows
        ]
        return self._inverse(y).reshape(x.shape[0], *self.geometry.output, self.group.order, -1)

    def filter_gradient(self, x: jax.Array, g: jax.Array) -> list[jax.Array]:
        """The gradient by the result of `filter_spectrum`."""
        g = g.reshape(-1, *g.shape[-2:])
        g_hat = self._transform([[g[:, r]] for r in range(self.group.order)], "result")
        # XLA transposes the first operand: g is smaller than the patches.
        return [
            functools.reduce(
                operator.add, (self._dot(b.T, a) for a, b in zip(rows, g_rows, strict=True))
            ).T
            for rows, g_rows in zip(self._transform(self._orbits(x), "left"), g_hat, strict=True)
        ]

    def _orbits(self, x: jax.Array) -> list[list[jax.Array]]:
        """``x[p + s t, s]`` for each s and, one after the other or all in one, each tap t:
        ``[N, *spatial', C_in]`` or ``[pixels, taps C_in]``."""
        geometry = self.geometry
        pads = [(low, high, 0) for low, high in geometry.padding]
        x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0), (0, 0, 0)])
        starts = self.starts
        limits = starts + (np.array(geometry.output) - 1) * geometry.strides + 1
        if is_gathered(self.group, geometry.kernel):
            return [[s] for s in self._gathered_orbits(x, starts[:, 0], limits[:, 0])]
        # Padded once, not by every sum that reads it. The slices are left to the sums.
        x = lax.optimization_barrier(x)
        return [
            [
                lax.slice(
                    x,
                    (0, *start, s, 0),
                    (x.shape[0], *limit, s + 1, x.shape[-1]),
                    (1, *geometry.strides, 1, 1),
                ).squeeze(-2)
                for start, limit in zip(starts[:, s], limits[:, s], strict=True)
            ]
            for s in range(self.group.order)
        ]

    def _gathered_orbits(self, x: jax.Array, starts, limits) -> list[jax.Array]:
        """Return the same, gathered from one copy of the patches. Slices would be too many to
        compile: 648 for 3x3x3 taps and the rotations of the cube."""
        order, channels = x.shape[-2:]
        taps = [
            lax.slice(
                x,
                (0, *start, 0, 0),
                (x.shape[0], *limit, order, channels),
                (1, *self.geometry.strides, 1, 1),
            )
            for start, limit in zip(starts, limits, strict=True)
        ]
        patches = jnp.stack(taps, -3).reshape(-1, len(taps) * order, channels)
        orbits = patches[:, self.tap_of.T * order + np.arange(order)[:, None]]  # [pixel, s, t, c]
        return list(
            lax.optimization_barrier(
                jnp.moveaxis(orbits, 1, 0).reshape(order, -1, len(taps) * channels)
            )
        )

    def _transform(self, f: list[list[jax.Array]], side: Side) -> list[list[jax.Array]]:
        """``sum_s f[s, t] side[i, k, s]`` for each product and row i: ``[pixels, d taps C]`` with k
        slow."""
        by_tap = list(zip(*f, strict=True))

        def row(matrix):
            sums = zip(*(_combine(list(tap), matrix) for tap in by_tap), strict=True)
            y = jnp.concatenate([tap for k in sums for tap in k], -1)
            return y.reshape(-1, y.shape[-1])

        return [[row(matrix) for matrix in getattr(product, side)] for product in self.products]

    def _inverse(self, y: list[jax.Array]) -> jax.Array:
        """The sum over products of ``y[i, j] result[i, j, r]``: ``[pixels, |G|, C]``."""
        results = [matrix for product in self.products for matrix in product.result]  # [j, r] each
        functions = [
            column
            for part, result in zip(y, results, strict=True)
            for column in jnp.split(part, len(result), -1)
        ]
        return jnp.stack(_combine(functions, np.concatenate(results).T), -2)

    def _dot(self, a: jax.Array, b: jax.Array) -> jax.Array:
        long = accumulation_dtype(a.dtype)
        return jnp.dot(a, b, precision=self.precision, preferred_element_type=long)


def _combine(f: list[jax.Array], coefficients: np.ndarray) -> list[jax.Array]:
    """``sum_s coefficients[o, s] f[s]`` for each o."""
    if len(f) > WRITTEN_OUT:
        matrix = jnp.asarray(coefficients, f[0].dtype)
        return list(
            jnp.einsum("os,s...->o...", matrix, jnp.stack(f), precision=lax.Precision.HIGHEST)
        )
    sums = []
    for row in coefficients:
        terms = [f[s] if row[s] == 1 else f[s] * float(row[s]) for s in np.flatnonzero(row)]
        while len(terms) > 1:  # in pairs: fewer additions that wait for each other
            pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
            terms = pairs + terms[2 * len(pairs) :]
        sums.append(terms[0])
    return sums


fourier_form = make_primitive(
    Convolution("gconv_jax_fourier_conv", _shape, default=_default, cpu=_cpu, channels_last=False)
)
