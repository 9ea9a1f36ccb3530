"""The layers on an accelerator against float64 on the CPU: values, gradients and the law.

    python benchmarks/accelerator_law.py [--json PATH]

For each layer, ``||y - r|| / ||r||`` of the output and of the gradients with respect to input and
filters, the largest of them, where r is the same in float64 on the CPU. ``highest`` is float32 with
JAX's precision of that name, ``float32`` has the default precision of the device (TF32 on a GPU),
``bfloat16`` has inputs and filters in it. ``law`` is the largest ``||f(L_g x) - L_g f(x)|| /
||f(x)||`` over all elements that map the lattice onto itself, in ``highest``. An error above the
limit of its column ends the script with status 1.
"""

import os
import sys
from collections.abc import Callable
from typing import NamedTuple

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import harness
import jax
import jax.numpy as jnp
import numpy as np

import gconv_jax as gx
from gconv_jax import P4, P4M, P6M, cyclic, dihedral, octahedral
from gconv_jax.filters.basis import find_basis
from gconv_jax.hexagonal import hexagon_mask

jax.config.update("jax_enable_x64", True)
LIMITS = {"highest": 1e-5, "float32": 5e-3, "bfloat16": 5e-2, "law": 1e-5}
C16, D8, CUBE = cyclic(16), dihedral(8), octahedral()
CHANNELS, BATCH = 8, 4


class Layer(NamedTuple):
    """A pure function of an input and filters, and their shapes."""

    call: Callable
    group: gx.FiniteGroup
    shapes: tuple[tuple[int, ...], ...]
    lifted_in: bool = True
    lifted_out: bool = True


def conv(function, group, pixels, kernel, *, lifting=False, **options) -> Layer:
    taps = (kernel,) * group.dimension
    if "filters" in options:
        options["kernel_size"] = kernel
        basis = find_basis(options["filters"], group)
        taps = (basis(np.zeros((1, 2)), kernel).shape[-1],)
    order, c = (() if lifting else (group.order,)), CHANNELS
    x = (BATCH, *(pixels,) * group.dimension, *order, c)
    if function is gx.separable_group_conv:
        # One spatial filter for each element and input channel, then a pointwise convolution.
        filters = ((*taps, *order, c), (*order, c, c))
    else:
        filters = ((*taps, *order, c, c),)

    def call(x, *w, **more):
        return function(x, *w, group=group, **options, **more)

    return Layer(call, group, (x, *filters), not lifting)


def hexagonal() -> Layer:
    mask = jnp.asarray(hexagon_mask(9))[..., None, None]
    shapes = (BATCH, 9, 9, 12, CHANNELS), (7, 12, CHANNELS, CHANNELS)

    def call(x, w, **more):
        mine = mask.astype(x.dtype)
        return mine * gx.group_conv(mine * x, w, group=P6M, **more)

    return Layer(call, P6M, shapes)


def pool(function, group, pixels, *, lifted_out=True, **options) -> Layer:
    x = (BATCH, *(pixels,) * group.dimension, group.order, CHANNELS)
    return Layer(
        lambda x, **_: function(x, group=group, **options), group, (x,), lifted_out=lifted_out
    )


def layers() -> dict[str, Layer]:
    group_conv, lift_conv = gx.group_conv, gx.lift_conv
    harmonic = {"filters": "harmonic"}
    window = {"window_shape": 2, "lifted": True}
    found = {
        "lift_conv P4M 3x3": conv(lift_conv, P4M, 9, 3, lifting=True),
        "lift_conv C16 harmonic 7x7": conv(lift_conv, C16, 9, 7, lifting=True, **harmonic),
        "group_conv P4 3x3, stride 2": conv(group_conv, P4, 9, 3, strides=2),
        "group_conv P4 4x4 valid": conv(group_conv, P4, 9, 4, padding="VALID"),
        "group_conv P6M, 7 taps": hexagonal(),
        "group_conv_transpose P4 4x4": conv(gx.group_conv_transpose, P4, 5, 4, strides=2),
        "group_conv_transpose cube 2x2x2": conv(gx.group_conv_transpose, CUBE, 3, 2, strides=2),
        "separable_group_conv P4M 3x3": conv(gx.separable_group_conv, P4M, 9, 3),
        "max_pool P4M": pool(gx.max_pool, P4M, 8, **window),
        "blur_pool P4M": pool(gx.blur_pool, P4M, 9, **window | {"window_shape": 3, "strides": 2}),
        "group_pool P4M": pool(gx.group_pool, P4M, 8, lifted_out=False),
    }
    for algorithm in ("dense", "fourier"):
        more = {"algorithm": algorithm}
        found |= {
            f"group_conv P4M 3x3, {algorithm}": conv(group_conv, P4M, 9, 3, **more),
            f"group_conv P4M 1x1, {algorithm}": conv(group_conv, P4M, 9, 1, **more),
            f"group_conv cube 3x3x3, {algorithm}": conv(group_conv, CUBE, 5, 3, **more),
            f"group_conv C16 5x5, {algorithm}": conv(group_conv, C16, 9, 5, **harmonic, **more),
            f"group_conv D8 5x5, {algorithm}": conv(group_conv, D8, 9, 5, **harmonic, **more),
        }
    return found


def parts(layer: Layer, arrays, dtype: str, precision: str | None) -> list[np.ndarray]:
    """Return output and gradients of ``sum(y * c)``, c fixed."""
    cast = [jnp.asarray(a, dtype) for a in arrays]

    def run(*arrays):
        more = {} if precision is None or len(arrays) == 1 else {"precision": precision}
        y, pull = jax.vjp(lambda *a: layer.call(*a, **more), *arrays)
        c = np.random.default_rng(1).normal(size=y.shape)
        return [y, *pull(jnp.asarray(c, y.dtype))]

    return [np.asarray(a, np.float64) for a in jax.jit(run)(*cast)]


def distance(a, b) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def law(layer: Layer, arrays) -> float:
    """Return the largest violation of the law, in float32 with the highest precision."""
    x, *w = (jnp.asarray(a, jnp.float32) for a in arrays)
    call = jax.jit(lambda x: layer.call(x, *w, **({"precision": "highest"} if w else {})))
    y, worst = np.asarray(call(x)), 0.0
    for element in range(layer.group.order):
        act = {"group": layer.group, "element": element}
        try:
            moved = gx.transform(x, lifted=layer.lifted_in, **act)
        except ValueError:  # an element that is not exact on the lattice
            continue
        expected = np.asarray(gx.transform(jnp.asarray(y), lifted=layer.lifted_out, **act))
        worst = max(worst, distance(np.asarray(call(moved)), expected))
    return worst


def main() -> None:
    args = harness.options(__doc__, rounds=1).parse_args()
    print(f"{jax.devices()[0].device_kind}; {harness.header()}")
    rows, wrong = [], []
    for name, layer in layers().items():
        rng = np.random.default_rng(0)
        arrays = [rng.normal(size=shape) for shape in layer.shapes]
        with jax.default_device(jax.devices("cpu")[0]):
            oracle = parts(layer, arrays, "float64", None)
        row = {"layer": name}
        for column in ("highest", "float32", "bfloat16"):
            dtype = "bfloat16" if column == "bfloat16" else "float32"
            found = parts(layer, arrays, dtype, "highest" if column == "highest" else None)
            row[column] = max(map(distance, found, oracle))
        row["law"] = law(layer, arrays)
        wrong += [f"{name}: {c} {row[c]:.1e}" for c, most in LIMITS.items() if not row[c] <= most]
        rows.append(row)
        harness.write_json(args, "law", device=jax.devices()[0].device_kind, rows=rows)
    shown = [{k: v if isinstance(v, str) else f"{v:.1e}" for k, v in row.items()} for row in rows]
    print(harness.table(shown))
    if wrong:
        sys.exit("too large: " + "; ".join(wrong))


if __name__ == "__main__":
    main()
