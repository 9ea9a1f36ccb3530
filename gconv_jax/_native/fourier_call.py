"""The Fourier form on a CPU in one pass over the images: optional and private.

XLA computes the sums over the group, the matrix products and the sums back one after the other,
each for all pixels of a few images. Here a few hundred pixels go through all of them before the
next ones, in the cache. One function does it, which LLVM compiles for the group and the channels at
hand (`gconv_jax._native.fourier_kernel`). Both gradients consist of the same parts: the input
gradient is itself a convolution, and the filter gradient ends with other products.

As in `gconv_jax._native.onednn`, shapes and attributes say everything about a call, which has
neither derivatives nor a batching rule.
"""

import concurrent.futures
import contextlib
import ctypes
import functools
import math
import os
import threading
import warnings
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import numpy as np

from gconv_jax._native import llvm, xla_ffi
from gconv_jax._native.fourier_kernel import FIELDS, ProductSize, Sizes, machine_code
from gconv_jax._native.tiling import RowTiling
from gconv_jax.groups.correlation import CorrelationProduct
from gconv_jax.ops.once import once

# The symmetries of a cube are that many; the sums of larger groups would have too many terms.
MOST_ELEMENTS = 48
# The units of work for each thread, so that all threads end at about the same time.
UNITS = 2
# Images share a strip if at least so many of them fit into it. The rows of a matrix product are
# rounded up to a multiple (`block_rows`), of which one small image leaves a good part empty.
SHARED = 2
# Of more images the table of copies would take long to make.
MOST_SHARED = 1024
# A line of the cache, in float32 numbers.
ALIGNMENT = 16

OUTPUT, FILTER_GRADIENT = "gconv_jax.conv.fourier.output", "gconv_jax.conv.fourier.filter_gradient"


def available() -> bool:
    """Return whether llvmlite is installed and XLA can call what it compiles."""
    return llvm.available() and _register()


@once
def _register() -> bool:
    try:
        for kind in (OUTPUT, FILTER_GRADIENT):
            xla_ffi.register(kind, functools.partial(_run, kind))
    except RuntimeError as error:
        warnings.warn(
            f"llvmlite is installed and cannot be used, so Fourier convolutions on a CPU are "
            f"slower: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True


class Patches(NamedTuple):
    """The pixels ``x[s p + starts[t, s] - low, s]`` that meet for the tap t and the element s, by
    axes."""

    starts: np.ndarray
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]


def output(
    x: jax.Array,
    spectrum: list[jax.Array],
    *,
    products: Sequence[CorrelationProduct],
    patches: Patches,
    spatial,
) -> jax.Array:
    """Return the convolution with a filter whose transform is known.

    Args:
        x: ``[N, *spatial, |G|, C_in]``, float32, nothing empty.
        spectrum: for each product ``[taps d C_in, d C_out]``.
        patches: its padding is not negative.
        spatial: sizes of the result.

    Returns:
        ``[N, *spatial', |G|, C_out]``.
    """
    c_out = spectrum[0].shape[-1] // products[0].dimension
    shape = jax.ShapeDtypeStruct((x.shape[0], *spatial, x.shape[-2], c_out), x.dtype)
    return xla_ffi.call(OUTPUT, shape)(x, *spectrum, **_attributes(products, patches))


def filter_gradient(
    x: jax.Array, g: jax.Array, *, products: Sequence[CorrelationProduct], patches: Patches
) -> list[jax.Array]:
    """Return the cotangent of ``spectrum`` in `output`, where g is that of the result."""
    taps = len(patches.starts)
    dimensions = [product.dimension for product in products]
    shapes = [(d * taps * x.shape[-1], d * g.shape[-1]) for d in dimensions]
    results = [jax.ShapeDtypeStruct(shape, x.dtype) for shape in shapes]
    call = xla_ffi.call(FILTER_GRADIENT, results)
    return list(call(x, g, **_attributes(products, patches)))


def _attributes(products: Sequence[CorrelationProduct], patches: Patches) -> dict[str, np.ndarray]:
    def matrix(side: Literal["left", "result"]):  # [(product, i, k), s]
        rows = [getattr(product, side) for product in products]
        return np.concatenate([row.reshape(-1, row.shape[-1]) for row in rows]).view(np.int64)

    values = {
        "left": matrix("left"),
        "result": matrix("result"),
        "rows": [product.rows for product in products],
        "dimensions": [product.dimension for product in products],
        "starts": patches.starts,
        "strides": patches.strides,
        "padding": patches.padding,
    }
    return {name: np.array(value, np.int64).reshape(-1) for name, value in values.items()}


def _run(kind: str, buffers: list[xla_ffi.Buffer], attributes: dict[str, tuple]):
    x, y = (buffers[0], buffers[-1] if kind == OUTPUT else buffers[1])
    parts = buffers[1:-1] if kind == OUTPUT else buffers[2:]
    plan = _plan(kind, x.shape, y.shape, tuple(attributes.items()))
    plan.run(x.pointer, y.pointer, [part.pointer for part in parts])


class _Plan:
    """A call of given shapes: the machine code, and the tables that it reads."""

    def __init__(self, kind: str, x_shape, y_shape, attributes: dict[str, tuple]):
        spatial, (order, c_in), c_out = x_shape[1:-2], x_shape[-2:], y_shape[-1]
        axes = len(spatial)

        def matrix(side: Literal["left", "result"]) -> tuple[tuple[float, ...], ...]:
            rows = np.array(attributes[side], np.int64).view(np.float64).reshape(-1, order)
            return tuple(map(tuple, rows.tolist()))

        products = zip(attributes["rows"], attributes["dimensions"], strict=True)
        starts = np.array(attributes["starts"], np.int64).reshape(-1, order, axes)
        padding = np.array(attributes["padding"], np.int64).reshape(axes, 2)
        self.sizes = Sizes(
            filter_gradient=kind == FILTER_GRADIENT,
            left=matrix("left"),
            result=matrix("result"),
            products=tuple(ProductSize(*product) for product in products),
            taps=len(starts),
            c_in=c_in,
            c_out=c_out,
        )
        self.work = machine_code(self.sizes)
        strides, images, output = attributes["strides"], x_shape[0], y_shape[1:-2]
        if _share_strips(images, output, strides, self.sizes.strip):
            # Images lie on a further axis, along which the filter has one tap.
            spatial, output, strides = (images, *spatial), (images, *output), (1, *strides)
            starts = np.pad(starts, [(0, 0), (0, 0), (1, 0)])
            padding = np.pad(padding, [(1, 0), (0, 0)])
            images = 1
        tiling = RowTiling(spatial, output, starts, strides, padding, order * c_in)
        rows = tiling.tile_rows(self.sizes.strip, math.ceil(UNITS * _threads() / images))
        self.pixels = tiling.pixels(rows)
        self.offsets = starts @ tiling.steps + np.arange(order) * c_in
        self.tiles, self.copies = tiling.tile_table(rows, order * c_out)
        window = tiling.window(rows) if padding.any() else 0
        units = images * len(self.tiles)
        self.threads = min(_threads(), units)
        self.scratch = window + sum(
            self.sizes.regions(each)[-1] for each in (self.sizes.together * c_in, c_out)
        )
        self.call = {
            "pixels": self.pixels.ctypes.data,
            "offsets": self.offsets.ctypes.data,
            "tiles": self.tiles.ctypes.data,
            "copies": self.copies.ctypes.data,
            "units": units,
            "tile_count": len(self.tiles),
            "x_image": math.prod(x_shape) // images,
            "y_image": math.prod(y_shape) // images,
            "window": window,
        }

    def run(self, x: int, y: int, parts: list[int]):
        """Compute, given the addresses of the arrays. y is the result or its cotangent, and the
        parts are the transformed filter or its cotangent."""
        sizes = self.sizes.spectrum
        gradient = self.sizes.filter_gradient
        # All threads take from the whole. A gradient has fixed shares instead, whose sums are added
        # in order, so that every call gives the same bits.
        count = self.threads if gradient else 1
        ends = [i * self.call["units"] // count for i in range(count + 1)]
        counters = [ctypes.c_int64(first) for first in ends[:-1]]
        sums = [
            [np.zeros(size, np.float32) for size in (sizes if gradient else ())] for _ in counters
        ]
        shares = list(zip(counters, ends[1:], sums, strict=True))
        waiting = iter(shares)

        def work():
            scratch = _scratch(self.scratch)
            for counter, end, own in waiting if gradient else shares:
                pointers = [part.ctypes.data for part in own] if gradient else parts
                table = (ctypes.c_void_p * len(parts))(*pointers)
                call = self.call | {
                    "x": x,
                    "y": y,
                    "parts": ctypes.addressof(table),
                    "scratch": scratch,
                    "counter": ctypes.addressof(counter),
                    "units": end,
                }
                values = (ctypes.c_int64 * len(FIELDS))(*(call[name] for name in FIELDS))
                self.work(ctypes.addressof(values))

        others = []
        with contextlib.suppress(RuntimeError):  # the interpreter ends: this thread does it all
            for _ in range(self.threads - 1):
                others.append(_pool().submit(work))
        try:
            work()
        finally:  # the memory may be gone after this
            others = [other for other in others if not other.cancel()]
            concurrent.futures.wait(others)
        for other in others:
            other.result()
        if gradient:
            for part, size, *own in zip(parts, sizes, *sums, strict=True):
                total = np.ctypeslib.as_array((ctypes.c_float * size).from_address(part))
                total[:] = functools.reduce(np.add, own)


def _share_strips(images: int, output: Sequence[int], strides: Sequence[int], strip: int) -> bool:
    """Return whether several images go through the transform together. There must be enough of them
    for all threads."""
    several = SHARED * UNITS * _threads() <= images <= MOST_SHARED
    return several and max(strides) == 1 and SHARED * math.prod(output) <= strip


@once
def _plan(kind: str, x_shape, y_shape, attributes) -> _Plan:
    return _Plan(kind, x_shape, y_shape, dict(attributes))


@functools.cache
def _threads() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@once
def _pool() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(_threads() - 1, "gconv_jax")


_own = threading.local()


def _scratch(size: int) -> int:
    """The address of so many numbers that this thread may use until it asks again."""
    if getattr(_own, "size", 0) < size:
        _own.memory = np.empty(size + ALIGNMENT, np.float32)
        _own.size = size
    address = _own.memory.ctypes.data
    return address + -address % (4 * ALIGNMENT)
