"""The cost of continuity: Monte-Carlo convolutions beside discrete ones of the same order.

    python benchmarks/continuous.py [--quick] [--rounds N] [--json PATH]

The layer has S sampled elements of SO(2), and a SIREN computes its filters at every call. It is
compared with `group_conv` over C_S with harmonic filters (dense) and, where the lattice has such a
group, with pixel filters (``auto``). Ratios are "A / harmonic": above 1 is slower.
"""

import harness
from networks import JAX_IMPORTS
from planar_conv import jax_step

# batch, pixels, channels, kernel, samples: CKResNet on MNIST6 and rotated MNIST, and the 13 layers
SHAPES = (
    (64, 14, 10, 7, 4),
    (64, 14, 32, 7, 4),
    (64, 14, 32, 7, 8),
    (64, 16, 32, 3, 8),
)


def step(kind: str, shape: tuple, backward: bool):
    """Make a contender: one convolution, with all gradients if ``backward``."""
    import jax
    from flax import nnx

    from gconv_jax import SO2, SampledFeatures, cyclic
    from gconv_jax.nnx import GroupConv, PartialGroupConv

    batch, pixels, channels, kernel, samples = shape
    x = jax.random.normal(jax.random.key(0), (batch, pixels, pixels, samples, channels))
    options = {"rngs": nnx.Rngs(0)}
    if kind == "monte-carlo":
        options |= {"group": SO2(), "samples": samples}
        layer = PartialGroupConv(channels, channels, kernel, **options)
        elements = layer.elements()
    else:
        group = cyclic(samples)
        layer = GroupConv(channels, channels, kernel, group=group, filters=kind, **options)
    graph, parameters, rest = nnx.split(layer, nnx.Param, ...)

    def conv(x, parameters):
        found = nnx.merge(graph, parameters, rest, copy=True)
        if kind == "monte-carlo":
            return found(SampledFeatures(x, elements)).values
        return found(x)

    return jax_step(conv, x, parameters, backward)


def main() -> None:
    args = harness.options(__doc__, rounds=9).parse_args()
    shapes = ((4, 8, 4, 3, 4),) if args.quick else SHAPES
    rounds = 2 if args.quick else args.rounds
    print(harness.header())
    rows = []
    with harness.Worker("continuous", JAX_IMPORTS) as worker:
        for shape in shapes:
            for backward in (False, True):
                kinds = ["harmonic", "monte-carlo", *(["pixel"] if shape[-1] == 4 else [])]
                builders = {
                    kind: lambda kind=kind, shape=shape, backward=backward: worker.build(
                        step, kind=kind, shape=shape, backward=backward
                    )
                    for kind in kinds
                }
                seconds, notes = harness.measure(builders, rounds, turn=0.2)
                names = ("batch", "pixels", "channels", "kernel", "samples")
                row = dict(zip(names, shape, strict=True))
                row |= {"pass": "forward+backward" if backward else "forward"}
                row |= {f"{kind} ms": 1e3 * seconds[kind] for kind in kinds}
                row["ratio"] = seconds["monte-carlo"] / seconds["harmonic"]
                rows.append(row | {"notes": notes})
    print(harness.table([{k: v for k, v in row.items() if k != "notes"} for row in rows]))
    harness.write_json(args, "continuous", rows=rows)


if __name__ == "__main__":
    main()
