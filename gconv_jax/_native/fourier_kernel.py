"""The machine code of a Fourier transform over the group, with the products between: private.

The code is made for the group, the numbers of channels and taps, and the pixels of a strip. Each
call (`gconv_jax._native.fourier_call`) tells it the addresses of images and tables.
"""

import itertools
from typing import NamedTuple

import numpy as np

from gconv_jax._native import llvm
from gconv_jax._native.llvm_matmul import add_transposed, block_rows, multiply
from gconv_jax.ops.once import once

# The size of the patches that one thread makes at a time, so that they stay in its cache, and the
# most pixels of a strip.
PATCH_BYTES = 2**18
STRIP_PIXELS = 144
# The least numbers that a product sums, where there are so many: each sum is read and written once.
LEAST_SUM = 32


class ProductSize(NamedTuple):
    """The size of a `gconv_jax.groups.correlation.CorrelationProduct`."""

    rows: int
    dimension: int


class Sizes(NamedTuple):
    """The sizes that machine code is made for, and the two matrices of its sums.

    The rows of ``left`` and ``result`` are those of the products, ``[(product, i, k), s]``.
    """

    filter_gradient: bool
    left: tuple[tuple[float, ...], ...]
    result: tuple[tuple[float, ...], ...]
    products: tuple[ProductSize, ...]
    taps: int
    c_in: int
    c_out: int

    @property
    def order(self) -> int:
        return len(self.left[0])

    @property
    def together(self) -> int:
        """The number of taps whose patches are made together, a divisor of all. The products of the
        next ones are added to theirs."""
        divisors = [n for n in range(1, self.taps + 1) if self.taps % n == 0]
        return next((n for n in divisors if n * self.c_in >= LEAST_SUM), self.taps)

    @property
    def strip(self) -> int:
        """The number of pixels of a strip, which go through the transform together."""
        values = len(self.left) * max(self.together * self.c_in, self.c_out)
        blocks = min(STRIP_PIXELS, PATCH_BYTES // 4 // values) // block_rows()
        return max(1, blocks) * block_rows()

    @property
    def spectrum(self) -> tuple[int, ...]:
        """The number of values of the transformed filter for each product."""
        return tuple(d * d * self.taps * self.c_in * self.c_out for _, d in self.products)

    def regions(self, each: int) -> list[int]:
        """Return where each product begins in a strip, which is ``[pixel, row, column, each]`` for
        each of them, and where the last one ends."""
        sizes = [self.strip * rows * d * each for rows, d in self.products]
        return [sum(sizes[:i]) for i in range(len(sizes) + 1)]

    def places(self, channels: int, taps: int = 1) -> list[tuple[int, int, int]]:
        """Return, for each row of a matrix, the place of the first pixel in a strip and the
        distances between pixels and between taps."""
        return [
            (start + (i * taps * d + k) * channels, rows * d * taps * channels, d * channels)
            for start, (rows, d) in zip(self.regions(taps * channels), self.products, strict=False)
            for i in range(rows)
            for k in range(d)
        ]


# The arguments of the machine code; sizes count numbers, not bytes.
FIELDS = (
    *("x", "y", "parts", "scratch", "counter", "pixels", "offsets", "tiles", "copies"),
    *("units", "tile_count", "x_image", "y_image", "window"),
)
POINTERS = FIELDS[:9]
# A tile: the starts of its rows in x and in y, its number of pixels, and the copies to make.
TILE = ("x", "y", "pixels", "first_copy", "copies")
# A copy from an image to the window of a tile: places and number of values.
COPY = ("source", "target", "length")


@once
def machine_code(sizes: Sizes):
    """Return the code that takes units, tiles of an image, from the counter until none is left."""
    order, c_in, c_out = sizes.order, sizes.c_in, sizes.c_out
    left, result_rows = np.array(sizes.left), np.array(sizes.result)
    together = sizes.together
    patches = sizes.places(c_in, together)
    strips = sizes.places(c_out)
    image = [(s * c_out, order * c_out, 0) for s in range(order)]
    functions = [_gather("patches", left, c_in, together, patches)]
    if sizes.filter_gradient:
        functions.append(_rearrange("cotangent", result_rows, c_out, image, strips))
    else:
        functions.append(_rearrange("back", result_rows.T, c_out, strips, image))

    product = add_transposed if sizes.filter_gradient else multiply
    options = {} if sizes.filter_gradient else {"add": together < sizes.taps}
    functions += [
        product(f"product{i}", d * together * c_in, d * c_out, **options)
        for i, (_, d) in enumerate(sizes.products)
    ]

    f = llvm.Function("work", "ptr %call")
    call = {name: f.load("%call", i) for i, name in enumerate(FIELDS)}
    for name in POINTERS:
        call[name] = f.assign(f"inttoptr i64 {call[name]} to ptr")
    transformed = call["scratch"]
    result = f.gep(transformed, sizes.regions(together * c_in)[-1])
    window = f.gep(result, sizes.regions(c_out)[-1])
    parts = [f.load(call["parts"], i, "ptr") for i in range(len(sizes.products))]
    padded = f.assign(f"icmp ne i64 {call['window']}, 0")
    window_bytes = f.product(call["window"], 4)
    with f.work_queue_loop(call["counter"], call["units"]) as unit:
        n = f.assign(f"udiv i64 {unit}, {call['tile_count']}")
        number = f.product(f.assign(f"urem i64 {unit}, {call['tile_count']}"), len(TILE))
        tile = {name: f.load(call["tiles"], f.sum(number, i)) for i, name in enumerate(TILE)}
        x = f.gep(call["x"], f.product(n, call["x_image"]))
        y = f.gep(call["y"], f.sum(f.product(n, call["y_image"]), tile["y"]))
        rows = f.gep(x, tile["x"])
        # With padding, the part of the image that the tile sees is copied between zeros.
        f.emit(f"call void @llvm.memset.p0.i64(ptr {window}, i8 0, i64 {window_bytes}, i1 false)")
        with f.loop(tile["copies"]) as i:
            number = f.product(f.sum(tile["first_copy"], i), len(COPY))
            copy = {k: f.load(call["copies"], f.sum(number, j)) for j, k in enumerate(COPY)}
            ends = f"ptr {f.gep(window, copy['target'])}, ptr {f.gep(x, copy['source'])}"
            length = f.product(copy["length"], 4)
            f.emit(f"call void @llvm.memcpy.p0.p0.i64({ends}, i64 {length}, i1 false)")
        source = f.assign(f"select i1 {padded}, ptr {window}, ptr {rows}")
        with f.loop(tile["pixels"], sizes.strip) as p:
            count = f.umin(f.assign(f"sub i64 {tile['pixels']}, {p}"), sizes.strip)
            pixels = f.gep(call["pixels"], p, "i64")
            here = f.gep(y, f.product(p, order * c_out))
            if sizes.filter_gradient:
                f.emit(f"call void @cotangent(ptr {here}, ptr {result}, i64 {count})")
            elif together < sizes.taps:
                size = 4 * sizes.regions(c_out)[-1]
                f.emit(f"call void @llvm.memset.p0.i64(ptr {result}, i8 0, i64 {size}, i1 false)")
            with f.loop(sizes.taps, together) as tap:
                offsets = f.gep(call["offsets"], f.product(tap, order), "i64")
                f.emit(
                    f"call void @patches(ptr {source}, ptr {transformed}, ptr {pixels}, "
                    f"ptr {offsets}, i64 {count})"
                )
                starts = zip(sizes.regions(together * c_in), sizes.regions(c_out), strict=True)
                for i, (start, end) in enumerate(itertools.islice(starts, len(parts))):
                    rows, d = sizes.products[i]
                    a, b = f.gep(transformed, start), f.gep(result, end)
                    part = f.gep(parts[i], f.product(tap, d * c_in * d * c_out))
                    ends = (
                        f"ptr {b}, ptr {part}" if sizes.filter_gradient else f"ptr {part}, ptr {b}"
                    )
                    length = f.product(count, rows)
                    f.emit(f"call void @product{i}(ptr {a}, {ends}, i64 {length})")
            if not sizes.filter_gradient:
                f.emit(f"call void @back(ptr {result}, ptr {here}, i64 {count})")
    declared = [
        "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)",
        "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
    ]
    return llvm.compile_functions("\n".join([*declared, *map(str, functions), str(f)]), "work", 1)


def _gather(name: str, matrix: np.ndarray, channels: int, taps: int, targets) -> llvm.Function:
    """``y[o, p, t] = sum_s matrix[o, s] x[pixels[p] + offsets[t, s]]``."""
    f = llvm.Function(name, "ptr noalias %x, ptr noalias %y, ptr %pixels, ptr %offsets, i64 %count")
    order = matrix.shape[1]
    with f.loop("%count") as p:
        pixel = f.gep("%x", f.load("%pixels", p))
        rows = [f.gep("%y", f.sum(f.product(p, step), start)) for start, step, _ in targets]
        with f.loop(taps) as t:
            first = f.product(t, order)
            sources = [f.gep(pixel, f.load("%offsets", f.sum(first, s))) for s in range(order)]
            places = [
                f.gep(row, f.product(t, step))
                for row, (_, _, step) in zip(rows, targets, strict=True)
            ]
            llvm.combine(f, matrix, channels, sources, places)
    return f


def _rearrange(name: str, matrix: np.ndarray, channels: int, sources, targets) -> llvm.Function:
    """``y[o, p] = sum_s matrix[o, s] x[s, p]``, both at regular places."""
    f = llvm.Function(name, "ptr noalias %x, ptr noalias %y, i64 %count")
    with f.loop("%count") as p:

        def at(pointer, places):
            return [f.gep(pointer, f.sum(f.product(p, step), start)) for start, step, _ in places]

        llvm.combine(f, matrix, channels, at("%x", sources), at("%y", targets))
    return f
