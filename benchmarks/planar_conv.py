"""The planar convolution that all layers use, beside XLA's own and PyTorch's.

    python benchmarks/planar_conv.py [--volumes] [--quick] [--rounds N] [--json PATH]

It measures the forward pass, and the forward pass with both gradients for a fixed cotangent, in
float32. Ratios are "A / auto", where `auto` is the choice of `planar_conv`: above 1 is slower.
"""

import harness

# batch, pixels, channels in and out, kernel, padding
SHAPES = [
    (128, 28, 1, 40, 3, 0),  # the layers of P4CNN
    (128, 26, 40, 40, 3, 0),
    (128, 12, 40, 40, 3, 0),
    (128, 10, 40, 40, 3, 0),
    (128, 8, 40, 40, 3, 0),
    (128, 6, 40, 40, 3, 0),
    (128, 4, 40, 40, 4, 0),
    (128, 16, 176, 176, 3, 1),
    (128, 32, 80, 80, 3, 1),
    (128, 8, 80, 80, 3, 1),
    (128, 16, 64, 64, 1, 0),  # pointwise
    (3136, 1, 512, 512, 1, 0),  # the same on images of one pixel
]
# Of volumes, with as many voxels on each of three axes.
VOLUMES = [
    (2, 12, 192, 192, 3, 1),  # as wide as a layer over the 24 rotations of the cube
    (8, 28, 48, 48, 3, 1),
    (8, 14, 96, 96, 3, 1),
    (8, 7, 192, 192, 3, 1),
    (8, 16, 32, 32, 3, 1),
    (8, 16, 16, 16, 3, 1),
]
IMPLEMENTATIONS = ("auto", "xla", "patches", "onednn", "lax")
# XLA's own gradients of volumes take seconds.
OF_VOLUMES = ("auto", "patches", "winograd", "onednn")
JAX_IMPORTS = ("jax", "flax.nnx", "gconv_jax")


def jax_conv(
    shape, implementation: str, backward: bool, dtype: str = "float32", dimension: int = 2
):
    """Make a contender: `jax.lax.conv_general_dilated` for ``lax``, else one of `planar_conv`."""
    import jax
    import jax.numpy as jnp

    from gconv_jax.planar.conv import planar_conv
    from gconv_jax.planar.implementation import planar_implementation

    _, _, c_in, c_out, k, padding = shape
    pads, ones = ((padding, padding),) * dimension, (1,) * dimension

    def lax_conv(x, w):
        axes = "DHW"[-dimension:]
        names = (f"N{axes}C", f"{axes}IO", f"N{axes}C")
        return jax.lax.conv_general_dilated(x, w, ones, pads, dimension_numbers=names)

    def ours(x, w):
        return planar_conv(x, w, strides=ones, padding=pads, dilation=ones)

    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], input_shape(shape, dimension), jnp.dtype(dtype))
    w = jax.random.normal(keys[1], (*(k,) * dimension, c_in, c_out), jnp.dtype(dtype))
    w = w / (k**dimension * c_in) ** 0.5
    if implementation == "lax":
        return jax_step(lax_conv, x, w, backward)
    with planar_implementation(implementation):  # compiled in here
        return jax_step(ours, x, w, backward)


def jax_step(conv, x, w, backward: bool):
    """Return ``conv(x, w)`` compiled, with gradients if ``backward``, and the program's name."""
    import hashlib

    import jax

    def forward_backward(x, w, cotangent):
        y, vjp = jax.vjp(conv, x, w)
        return y, *vjp(cotangent)

    arguments = (x, w)
    if backward:
        cotangent = jax.numpy.ones_like(jax.eval_shape(conv, x, w))
        arguments = (x, w, cotangent)
    lowered = jax.jit(forward_backward if backward else lambda x, w: conv(x, w)).lower(*arguments)
    compiled = lowered.compile()

    def step():
        return compiled(*arguments)

    step.program = hashlib.sha256(lowered.as_text().encode()).hexdigest()
    return step


def torch_conv(shape, backward: bool, dtype: str = "float32", dimension: int = 2):
    """Make a contender: PyTorch's convolution of channels-last arrays."""
    import torch

    if not torch.cuda.is_available():
        torch.set_num_threads(harness.cores())
    n, pixels, c_in, c_out, k, padding = shape
    where = {
        "dtype": getattr(torch, dtype),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }
    last = torch.channels_last if dimension == 2 else torch.channels_last_3d
    conv = torch.nn.functional.conv2d if dimension == 2 else torch.nn.functional.conv3d
    x = torch.randn(n, c_in, *(pixels,) * dimension, **where).to(memory_format=last)
    w = torch.randn(c_out, c_in, *(k,) * dimension, **where).to(memory_format=last)
    x, w = x.requires_grad_(backward), w.requires_grad_(backward)
    with torch.no_grad():
        cotangent = torch.ones_like(conv(x, w, padding=padding))

    def step():
        y = conv(x, w, padding=padding)
        return torch.autograd.grad(y, (x, w), cotangent) if backward else y

    return step


def input_shape(shape, dimension: int = 2) -> tuple[int, ...]:
    n, pixels, c_in, *_ = shape
    return n, *(pixels,) * dimension, c_in


def flops(shape, backward: bool, dimension: int = 2) -> float:
    """Return two operations for each multiplication; a gradient counts like the forward pass."""
    n, pixels, c_in, c_out, k, padding = shape
    products = ((pixels + 2 * padding - k + 1) * k) ** dimension
    return 2.0 * (3 if backward else 1) * n * products * c_in * c_out


def label(shape, dimension: int = 2) -> str:
    n, pixels, c_in, c_out, k, _ = shape
    sizes = ["x".join([str(size)] * dimension) for size in (pixels, k)]
    return f"{n} x {sizes[0]}, {c_in} -> {c_out}, {sizes[1]}"


def main() -> None:
    parser = harness.options(__doc__, rounds=9)
    parser.add_argument("--volumes", action="store_true", help="volumes, not images")
    args = parser.parse_args()
    dimension = 3 if args.volumes else 2
    shapes = VOLUMES if args.volumes else SHAPES
    shapes = [(2, *shape[1:]) for shape in shapes[1:3]] if args.quick else shapes
    rounds = 2 if args.quick else args.rounds
    print(harness.header())
    rows, notes = [], {}
    with (
        harness.Worker("planar_conv", JAX_IMPORTS) as ours,
        harness.Worker("planar_conv", ("torch",)) as torch,
    ):
        for shape in shapes:
            for backward in (False, True):
                spec = {"shape": shape, "backward": backward, "dimension": dimension}
                builders = {
                    name: lambda name=name, spec=spec: ours.build(
                        jax_conv, implementation=name, **spec
                    )
                    for name in (OF_VOLUMES if args.volumes else IMPLEMENTATIONS)
                }
                builders["torch"] = lambda spec=spec: torch.build(torch_conv, **spec)
                seconds, new_notes = harness.measure(builders, rounds)
                notes |= new_notes
                rows.append(
                    {
                        "shape": label(shape, dimension),
                        "pass": "forward+backward" if backward else "forward",
                        "milliseconds": {name: 1e3 * s for name, s in seconds.items()},
                        "gflops_per_second": {
                            name: flops(shape, backward, dimension) / s / 1e9
                            for name, s in seconds.items()
                        },
                    }
                )
                ours.drop(), torch.drop()
    print(harness.table([_columns(row) for row in rows]))
    harness.describe(notes)
    harness.write_json(args, "planar_conv", rows=rows, notes=notes)


def _columns(row: dict) -> dict:
    ms = row["milliseconds"]
    return {
        "convolution": row["shape"],
        "pass": row["pass"],
        "auto ms": ms.get("auto"),
        "auto GFLOP/s": row["gflops_per_second"].get("auto"),
        **harness.over(ms, "auto"),
    }


if __name__ == "__main__":
    main()
