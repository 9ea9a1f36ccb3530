"""The cost of separable group convolutions, and of the depthwise convolution in them.

    python benchmarks/separable.py [--quick] [--rounds N] [--json PATH]

Layers over P4 have as many channels: `group_conv`, the gc-separable form in its two steps, and the
same filters multiplied out to a `group_conv`. Ratios are "A / group_conv": above 1 is slower. Then
`depthwise_conv` is compared with XLA's grouped convolution, with ratios to the former.
"""

import harness
from networks import JAX_IMPORTS
from planar_conv import jax_step

# batch, pixels, channels, kernel: layers of SeparableCNN, and of a residual network
SHAPES = ((128, 26, 30, 3), (128, 10, 30, 3), (128, 32, 28, 3), (128, 8, 112, 3))


def layer(kind: str, shape: tuple, backward: bool):
    """Make a contender: a convolution over P4, with both gradients if ``backward``."""
    import jax

    from gconv_jax import P4, group_conv, separable_group_conv

    batch, pixels, channels, k = shape
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (batch, pixels, pixels, 4, channels))
    spatial = jax.random.normal(keys[1], (k, k, 1, channels))
    pointwise = jax.random.normal(keys[2], (4, channels, channels))
    if kind == "group_conv":
        w = spatial[..., None, :, :] * pointwise
        return jax_step(lambda x, w: group_conv(x, w, group=P4), x, w, backward)

    def conv(x, w):
        if kind == "separable":
            return separable_group_conv(x, *w, group=P4)
        return group_conv(x, w[0][..., None, :, :] * w[1], group=P4)

    return jax_step(conv, x, (spatial, pointwise), backward)


def depthwise(kind: str, shape: tuple, backward: bool):
    """Make a contender: ``|G| C`` channels, each with a filter of its own."""
    import jax

    from gconv_jax.planar.conv import planar_conv
    from gconv_jax.planar.depthwise import depthwise_conv

    batch, pixels, channels, k = shape
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (batch, pixels, pixels, 4 * channels))
    w = jax.random.normal(keys[1], (k, k, 1, 4 * channels))
    options = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
    if kind == "xla":
        options["feature_group_count"] = 4 * channels
        return jax_step(lambda x, w: planar_conv(x, w, **options), x, w, backward)
    return jax_step(lambda x, w: depthwise_conv(x, w, **options), x, w, backward)


def main() -> None:
    args = harness.options(__doc__, rounds=5).parse_args()
    shapes = ((4, 8, 4, 3),) if args.quick else SHAPES
    rounds = 2 if args.quick else args.rounds
    print(harness.header())
    found = {}
    for function, kinds in (
        (layer, ("group_conv", "separable", "product")),
        (depthwise, ("ours", "xla")),
    ):
        rows = []
        with harness.Worker("separable", JAX_IMPORTS) as worker:
            for shape in shapes:
                for backward in (False, True):
                    builders = {
                        kind: lambda f=function, kind=kind, shape=shape, backward=backward: (
                            worker.build(f, kind=kind, shape=shape, backward=backward)
                        )
                        for kind in kinds
                    }
                    seconds, notes = harness.measure(builders, rounds, turn=0.2)
                    row = dict(zip(("batch", "pixels", "channels", "kernel"), shape, strict=True))
                    row |= {"pass": "forward+backward" if backward else "forward"}
                    row |= {f"{kinds[0]} ms": 1e3 * seconds[kinds[0]]}
                    row |= {kind: seconds[kind] / seconds[kinds[0]] for kind in kinds[1:]}
                    rows.append(row | {"notes": notes})
        print(f"\n{function.__name__}")
        print(harness.table([{k: v for k, v in row.items() if k != "notes"} for row in rows]))
        found[function.__name__] = rows
    harness.write_json(args, "separable", **found)


if __name__ == "__main__":
    main()
