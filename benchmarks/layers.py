"""One layer of each kind of group, beside the same layer of escnn.

    python benchmarks/layers.py [--layers C8,D4] [--escnn-python PATH] [--before CHECKOUT]
        [--rounds N] [--quick]

`auto` is `group_conv` as users call it, `dense` is forced to the whole filter bank, and `subgroup`
and `fourier` are the two ways through the group's exact elements, by their filter bank and by their
Fourier transform; all expand the filter in every call. `escnn` is its `R2Conv` or `R3Conv` in
evaluation mode for the forward pass, which keeps the expanded filter. `before` is `auto` of another
checkout of this repository. Ratios are "auto / it": below 1 is faster than it.
"""

import os
import sys
from pathlib import Path
from typing import NamedTuple

import harness
from planar_conv import JAX_IMPORTS, jax_step


class Layer(NamedTuple):
    """A layer with as many channels on both sides."""

    group: str
    """An expression over the functions of `gconv_jax`."""
    space: tuple[str, int]
    """The function of ``escnn.gspaces`` for the same group, and its argument."""
    channels: int
    kernel: int
    pixels: int
    batch: int
    filters: str | None = "harmonic"
    dimension: int = 2


LAYERS = {
    "C8": Layer("cyclic(8)", ("rot2dOnR2", 8), 16, 5, 28, 16),
    "C16": Layer("cyclic(16)", ("rot2dOnR2", 16), 16, 7, 14, 16),
    "D8": Layer("dihedral(8)", ("flipRot2dOnR2", 8), 8, 5, 14, 16),
    "C4": Layer("cyclic(4)", ("rot2dOnR2", 4), 16, 3, 16, 16, "pixel"),
    "D4": Layer("dihedral(4)", ("flipRot2dOnR2", 4), 32, 3, 16, 16, "pixel"),
    "octahedral": Layer("octahedral()", ("octaOnR3", 0), 8, 3, 12, 2, "pixel", 3),
}
CHECKOUT = Path(__file__).resolve().parent.parent
OURS = ("auto", "dense", "subgroup", "fourier")


def our_layer(spec: list, form: str, backward: bool):
    """Make a contender: a convolution of this library."""
    import math

    import jax

    import gconv_jax
    from gconv_jax.conv.algorithm import auto_algorithm
    from gconv_jax.filters.bank import filter_axes

    layer = Layer(*spec)
    group = eval(layer.group, vars(gconv_jax).copy())
    kernel = (layer.kernel,) * layer.dimension
    options = {"group": group, "filters": layer.filters}
    if layer.filters != "pixel":
        options["kernel_size"] = layer.kernel
    elif form == "subgroup":
        raise ValueError("all elements are exact")
    first = filter_axes(layer.filters, group, kernel)
    c, keys = layer.channels, jax.random.split(jax.random.key(0))
    shape = (layer.batch, *(layer.pixels,) * layer.dimension, group.order, c)
    x = jax.random.normal(keys[0], shape)
    w = jax.random.normal(keys[1], (*first, group.order, c, c))
    w = w / (math.prod(first) * group.order * c) ** 0.5
    algorithm = {"subgroup": "auto"}.get(form, form)

    def conv(x, w):
        return gconv_jax.group_conv(x, w, algorithm=algorithm, **options)

    if form == "subgroup":
        with auto_algorithm("dense"):
            return jax_step(conv, x, w, backward)
    return jax_step(conv, x, w, backward)


def escnn_layer(spec: list, backward: bool):
    """Make a contender: escnn's convolution of regular fields."""
    import torch
    from escnn import gspaces, nn

    torch.set_num_threads(harness.cores())
    layer = Layer(*spec)
    name, n = layer.space
    space = getattr(gspaces, name)(*([n] if n else []))
    fields = nn.FieldType(space, layer.channels * [space.regular_repr])
    conv = (nn.R2Conv if layer.dimension == 2 else nn.R3Conv)(
        fields, fields, kernel_size=layer.kernel, padding=layer.kernel // 2, bias=False
    )
    size = (layer.batch, fields.size, *(layer.pixels,) * layer.dimension)
    x = torch.randn(size).requires_grad_(backward)
    if not backward:
        conv.eval()

        def evaluate():
            with torch.no_grad():
                return conv(nn.GeometricTensor(x, fields)).tensor

        return evaluate
    cotangent = torch.ones(size)

    def step():
        y = conv(nn.GeometricTensor(x, fields)).tensor
        return torch.autograd.grad(y, (x, *conv.parameters()), cotangent)

    return step


def main() -> None:
    parser = harness.options(__doc__, rounds=9)
    parser.add_argument("--layers", type=harness.comma(), default=",".join(LAYERS))
    parser.add_argument(
        "--escnn-python",
        default=os.environ.get("ESCNN_PYTHON", sys.executable),
        help="an interpreter with escnn; by default $ESCNN_PYTHON, or this one",
    )
    parser.add_argument(
        "--before", type=Path, help="another checkout of this repository, to compare with"
    )
    args = parser.parse_args()
    rounds = 2 if args.quick else args.rounds
    print(harness.header())
    rows, notes = [], {}
    with (
        harness.Worker("layers", JAX_IMPORTS) as ours,
        harness.Worker("layers", JAX_IMPORTS, checkout=(args.before or CHECKOUT).resolve()) as old,
        harness.Worker("layers", ("torch", "escnn.nn"), python=args.escnn_python) as escnn,
    ):
        for name in args.layers:
            layer = LAYERS[name]
            if args.quick:
                layer = layer._replace(channels=2, pixels=8, batch=2)
            for backward in (True, False):
                builders = {
                    form: lambda form=form, layer=layer, backward=backward: ours.build(
                        our_layer, spec=list(layer), form=form, backward=backward
                    )
                    for form in OURS
                    if layer.filters != "pixel" or form != "subgroup"
                }
                if args.before is not None:
                    builders["before"] = lambda layer=layer, backward=backward: old.build(
                        our_layer, spec=list(layer), form="auto", backward=backward
                    )
                builders["escnn"] = lambda layer=layer, backward=backward: escnn.build(
                    escnn_layer, spec=list(layer), backward=backward
                )
                seconds, new_notes = harness.measure(builders, rounds)
                notes |= new_notes
                row = {"layer": name, "pass": "forward+backward" if backward else "forward"}
                row |= {f"{who} ms": 1e3 * s for who, s in seconds.items()}
                row |= {
                    f"auto / {who}": seconds["auto"] / seconds[who]
                    for who in ("dense", "before", "escnn")
                    if who in seconds
                }
                rows.append(row)
                harness.write_json(args, "layers", rows=rows, notes=notes)
                ours.drop(), old.drop(), escnn.drop()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    print(harness.table(rows, columns))
    harness.describe(notes)


if __name__ == "__main__":
    main()
