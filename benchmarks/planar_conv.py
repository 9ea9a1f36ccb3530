"""The planar convolution that all layers use, beside XLA's own and PyTorch's.

    python benchmarks/planar_conv.py [--quick] [--rounds N] [--json PATH]

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
IMPLEMENTATIONS = ("auto", "xla", "patches", "onednn", "lax")
JAX_IMPORTS = ("jax", "flax.nnx", "gconv_jax")


def jax_conv(shape, implementation: str, backward: bool, dtype: str = "float32"):
    """Make a contender: `jax.lax.conv_general_dilated` for ``lax``, else one of `planar_conv`."""
    import jax
    import jax.numpy as jnp

    from gconv_jax.planar.conv import planar_conv
    from gconv_jax.planar.implementation import planar_implementation

    _, _, c_in, c_out, k, padding = shape
    pads = ((padding, padding),) * 2

    def lax_conv(x, w):
        names = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, w, (1, 1), pads, dimension_numbers=names)

    def ours(x, w):
        return planar_conv(x, w, strides=(1, 1), padding=pads, dilation=(1, 1))

    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], input_shape(shape), jnp.dtype(dtype))
    w = jax.random.normal(keys[1], (k, k, c_in, c_out), jnp.dtype(dtype)) / (k * c_in**0.5)
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


def torch_conv(shape, backward: bool, dtype: str = "float32"):
    """Make a contender: PyTorch's convolution of channels-last arrays."""
    import torch

    if not torch.cuda.is_available():
        torch.set_num_threads(harness.cores())
    n, pixels, c_in, c_out, k, padding = shape
    where = {
        "dtype": getattr(torch, dtype),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }
    x = torch.randn(n, c_in, pixels, pixels, **where).to(memory_format=torch.channels_last)
    w = torch.randn(c_out, c_in, k, k, **where).to(memory_format=torch.channels_last)
    x, w = x.requires_grad_(backward), w.requires_grad_(backward)
    with torch.no_grad():
        cotangent = torch.ones_like(torch.nn.functional.conv2d(x, w, padding=padding))

    def step():
        y = torch.nn.functional.conv2d(x, w, padding=padding)
        return torch.autograd.grad(y, (x, w), cotangent) if backward else y

    return step


def input_shape(shape) -> tuple[int, int, int, int]:
    n, pixels, c_in, *_ = shape
    return n, pixels, pixels, c_in


def flops(shape, backward: bool) -> float:
    """Return two operations for each multiplication; a gradient counts like the forward pass."""
    n, pixels, c_in, c_out, k, padding = shape
    return (
        2.0 * (3 if backward else 1) * n * (pixels + 2 * padding - k + 1) ** 2 * k**2 * c_in * c_out
    )


def label(shape) -> str:
    n, pixels, c_in, c_out, k, _ = shape
    return f"{n} x {pixels}x{pixels}, {c_in} -> {c_out}, {k}x{k}"


def main() -> None:
    args = harness.options(__doc__, rounds=9).parse_args()
    shapes = [(2, *shape[1:]) for shape in SHAPES[1:3]] if args.quick else SHAPES
    rounds = 2 if args.quick else args.rounds
    print(harness.header())
    rows, notes = [], {}
    with (
        harness.Worker("planar_conv", JAX_IMPORTS) as ours,
        harness.Worker("planar_conv", ("torch",)) as torch,
    ):
        for shape in shapes:
            for backward in (False, True):
                spec = {"shape": shape, "backward": backward}
                builders = {
                    name: lambda name=name, spec=spec: ours.build(
                        jax_conv, implementation=name, **spec
                    )
                    for name in IMPLEMENTATIONS
                }
                builders["torch"] = lambda spec=spec: torch.build(torch_conv, **spec)
                seconds, new_notes = harness.measure(builders, rounds)
                notes |= new_notes
                rows.append(
                    {
                        "shape": label(shape),
                        "pass": "forward+backward" if backward else "forward",
                        "milliseconds": {name: 1e3 * s for name, s in seconds.items()},
                        "gflops_per_second": {
                            name: flops(shape, backward) / s / 1e9 for name, s in seconds.items()
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
