"""The multiplications of layers and blocks over a group, beside those of equal width without one.

    python benchmarks/multiplications.py [--json PATH]

They are counted in the program that JAX traces, forward, for one of 196 tokens or pixels; above 1,
"plain / group" means fewer over the group. ``linear`` are those of linear maps and convolutions
over channels, ``other`` those of attention, depthwise filters, biases and transforms over the group
outside of convolutions. Transforms within convolutions are sums for P4 and P4M, and are not
counted. Nothing is computed or timed. The plain block is the same over the trivial group.
"""

import collections
import math
from collections.abc import Callable, Iterator
from typing import Any

import harness
from transformer import group, ours

SIDE = 14
# Products that sum over at most so many numbers are transforms over a group.
MOST_ELEMENTS = 48
# kind of block, group, width over all elements
BLOCKS = (
    *(("linear", name, 512) for name in ("cyclic4", "dihedral4")),
    ("linear", "octahedral", 480),
    *(("convolution", name, 512) for name in ("cyclic4", "dihedral4")),
    *(("vit", name, 512) for name in ("cyclic4", "dihedral4")),
    *(("convnext", name, 512) for name in ("cyclic4", "dihedral4")),
)


def equations(jaxpr: Any) -> Iterator[Any]:
    """Yield the equations of a program, those of the programs in it among them."""
    for equation in jaxpr.eqns:
        inner = [
            part.jaxpr if hasattr(part, "jaxpr") else part
            for value in equation.params.values()
            for part in (value if isinstance(value, tuple | list) else [value])
            if hasattr(part, "eqns") or hasattr(part, "jaxpr")
        ]
        if inner and equation.primitive.name not in ("scan", "while"):
            for part in inner[:1]:  # of a function with derivatives of its own, the function
                yield from equations(part)
        else:
            yield equation


def count(function: Callable, *arguments: Any) -> collections.Counter[str]:
    """Return the multiplications of a function, by kind."""
    import jax

    total: collections.Counter[str] = collections.Counter()
    for equation in equations(jax.make_jaxpr(function)(*arguments).jaxpr):
        name, params = equation.primitive.name, equation.params
        left, right = (v.aval.shape for v in equation.invars[:2]) if _is_product(name) else ((), ())
        if name == "dot_general":
            (contracted, _), (batch, _) = params["dimension_numbers"]
            inner = math.prod(left[i] for i in contracted)
            vector = min(len(left), len(right)) == 1  # a bias that is spread over the group
            kind = "other" if batch or vector or inner <= MOST_ELEMENTS else "linear"
            total[kind] += math.prod(equation.outvars[0].aval.shape) * inner
        elif name == "gconv_jax_fourier_conv":
            total["linear"] += _fourier(left, right, params["static"])
        elif name == "gconv_jax_planar_conv":
            geometry = params["static"].geometry
            total["linear"] += left[0] * math.prod(geometry.output) * math.prod(right)
        elif name == "gconv_jax_depthwise_conv":
            geometry = params["static"].geometry
            pixels = left[0] * math.prod(geometry.output)
            total["other"] += pixels * math.prod(right[:-1]) * right[-1]
        elif name in ("conv_general_dilated", "scan", "while"):
            raise NotImplementedError(f"`{name}` in a block")
    return total


def _is_product(name: str) -> bool:
    return name in ("dot_general", "conv_general_dilated") or name.startswith("gconv_jax_")


def _fourier(x: tuple[int, ...], w: tuple[int, ...], static: Any) -> int:
    from gconv_jax.groups.correlation import multiplications

    order = static.group.order
    each = multiplications(static.group) if "cpu" in static.platforms else order**2
    geometry = static.planar.geometry
    return x[0] * math.prod(geometry.output) * math.prod(w) // order * each


def block(kind: str, name: str, width: int) -> tuple[Callable, tuple[int, ...]]:
    """Return a block and the shape of its input."""
    from flax import nnx

    from gconv_jax.nnx import GroupConv, GroupLinear

    on = group(name)
    channels, options = width // on.order, {"group": on, "rngs": nnx.Rngs(0)}
    shape = (1, SIDE, SIDE, on.order, channels)
    if kind == "linear":
        return GroupLinear(channels, channels, algorithm="fourier", **options), shape
    if kind == "convolution":
        return GroupConv(channels, channels, 3, algorithm="fourier", **options), shape
    return ours("irreps" if kind == "vit" else "regular", name, kind, width, None), shape


def row(kind: str, name: str, width: int) -> dict[str, Any]:
    """Return the counts of a block for one position, and the ratios to those without a group."""
    import jax.numpy as jnp

    from gconv_jax import to_irreps

    counts = {}
    for who in ("trivial", name):
        make, shape = block(kind, who, width)
        x = jnp.zeros(shape)
        if kind == "vit" and who != "trivial":
            x = to_irreps(x, group=group(who))
        counts[who] = {k: n / SIDE**2 for k, n in count(make, x).items()}
    plain, ours_ = counts["trivial"], counts[name]
    return {
        "block": kind,
        "group": name,
        "width": width,
        "linear, plain": plain["linear"],
        "linear, group": ours_["linear"],
        "linear, plain / group": plain["linear"] / ours_["linear"],
        "other, plain": plain.get("other", 0),
        "other, group": ours_.get("other", 0),
        "all, plain / group": sum(plain.values()) / sum(ours_.values()),
    }


def main() -> None:
    args = harness.options(__doc__, rounds=1).parse_args()
    rows = [row(*spec) for spec in (BLOCKS[1:2] if args.quick else BLOCKS)]
    print(harness.table(rows))
    harness.write_json(args, "multiplications", rows=rows)


if __name__ == "__main__":
    main()
