"""The transposed group convolution beside PyTorch's transposed convolution of equal dense width.

    python benchmarks/transposed.py [--torch-python PATH] [--quick] [--rounds N] [--json PATH]

`ours` is `gconv_jax.group_conv_transpose` with its filter bank, `torch` is ``conv_transpose2d`` or
``conv_transpose3d`` from |G| C to |G| C channels, in the faster of its two memory formats and
without a bank to expand. With ``backward`` both have the gradients of input and filter.
"""

import os
import sys

import harness
from networks import JAX_IMPORTS
from planar_conv import jax_step

# group, channels for each element, filter size, stride, pixels, batch
LAYERS = [
    ("octahedral()", 2, 4, 2, 12, 2),
    ("octahedral()", 4, 3, 1, 12, 2),
    ("rotations_about(0)", 8, 4, 2, 12, 2),
    ("rotations_about(0)", 16, 2, 2, 8, 4),
    ("trivial(3)", 32, 4, 2, 12, 4),
    ("cyclic(4)", 8, 4, 2, 16, 16),
    ("dihedral(4)", 8, 4, 2, 16, 16),
]
FORMATS = ("contiguous", "channels last")


def padding_of(kernel: int, stride: int) -> int:
    """Return the pixels to cut off on each side, so that sides are ``stride`` times longer."""
    return (kernel - stride) // 2 if stride > 1 else kernel // 2


def our_transpose(layer: list, backward: bool):
    """Make a contender."""
    import jax

    import gconv_jax

    name, channels, kernel, stride, pixels, batch = layer
    group = eval(name, vars(gconv_jax).copy())
    keys = jax.random.split(jax.random.key(0))
    shape = (batch, *(pixels,) * group.dimension, group.order, channels)
    x = jax.random.normal(keys[0], shape)
    taps = (kernel,) * group.dimension
    w = jax.random.normal(keys[1], (*taps, group.order, channels, channels))

    def conv(x, w):
        padding = padding_of(kernel, stride)
        return gconv_jax.group_conv_transpose(
            x, w / w.size**0.5, group=group, strides=stride, padding=padding
        )

    return jax_step(conv, x, w, backward)


def torch_transpose(width: int, dimension: int, layer: list, memory: str, backward: bool):
    """Make a contender: PyTorch's transposed convolution of ``width`` channels."""
    import torch

    torch.set_num_threads(harness.cores())
    _, _, kernel, stride, pixels, batch = layer
    last = torch.channels_last if dimension == 2 else torch.channels_last_3d
    memory = torch.contiguous_format if memory == FORMATS[0] else last
    function = getattr(torch.nn.functional, f"conv_transpose{dimension}d")
    x = torch.randn(batch, width, *(pixels,) * dimension).to(memory_format=memory)
    w = torch.randn(width, width, *(kernel,) * dimension).to(memory_format=memory)
    x, w = x.requires_grad_(backward), w.requires_grad_(backward)

    def conv():
        return function(x, w, stride=stride, padding=padding_of(kernel, stride))

    with torch.no_grad():
        cotangent = torch.ones_like(conv())

    def step():
        y = conv()
        return torch.autograd.grad(y, (x, w), cotangent) if backward else y

    return step


def main() -> None:
    import gconv_jax

    parser = harness.options(__doc__, rounds=7)
    parser.add_argument(
        "--torch-python",
        default=os.environ.get("ESCNN_PYTHON", sys.executable),
        help="an interpreter with PyTorch; by default $ESCNN_PYTHON, or this one",
    )
    args = parser.parse_args()
    layers = [("cyclic(2)", 1, 2, 2, 4, 1)] if args.quick else LAYERS
    rounds = 2 if args.quick else args.rounds
    print(harness.header())
    rows, notes = [], {}
    with (
        harness.Worker("transposed", JAX_IMPORTS) as ours,
        harness.Worker("transposed", ("torch",), python=args.torch_python) as torch,
    ):
        for layer in layers:
            name, channels, kernel, stride, pixels, batch = layer
            group = eval(name, vars(gconv_jax).copy())
            for backward in (False, True):
                spec = {"layer": list(layer), "backward": backward}
                dense = {"width": group.order * channels, "dimension": group.dimension}
                builders = {"ours": lambda spec=spec: ours.build(our_transpose, **spec)}
                for memory in FORMATS:
                    builders[memory] = lambda memory=memory, spec=spec, dense=dense: torch.build(
                        torch_transpose, memory=memory, **dense, **spec
                    )
                seconds, new_notes = harness.measure(builders, rounds)
                notes |= new_notes
                best = min((seconds[m] for m in FORMATS if m in seconds), default=None)
                size = "x".join([str(pixels)] * group.dimension)
                rows.append(
                    {
                        "layer": f"{name}, {channels} channels, {batch} x {size}",
                        "filter, stride": f"{kernel}, {stride}",
                        "pass": "forward+backward" if backward else "forward",
                        "ours ms": 1e3 * seconds["ours"],
                        "torch ms": None if best is None else 1e3 * best,
                        "ours / torch": None if best is None else seconds["ours"] / best,
                    }
                )
                harness.write_json(args, "transposed", rows=rows, notes=notes)
                ours.drop(), torch.drop()
    print(harness.table(rows))
    harness.describe(notes)


if __name__ == "__main__":
    main()
