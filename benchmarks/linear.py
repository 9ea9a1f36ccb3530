"""A linear map of features on the group beside a dense one of equal width.

    python benchmarks/linear.py [--quick] [--rounds N] [--json PATH]

``GroupLinear`` maps tokens ``[N, |G|, C]``, ``nnx.Linear`` tokens ``[N, |G| C]``: the same numbers,
and |G| times as many parameters. Ratios are "GroupLinear / nnx.Linear": below 1 is faster.
``fewer`` is how many times fewer multiplications the group's Fourier basis takes.
"""

import harness
from networks import JAX_IMPORTS

# group, channels for each element, tokens: 16 images of 14 x 14 patches
SHAPES = (
    ("dihedral4", 64, 3136),
    ("dihedral4", 32, 3136),
    ("cyclic4", 128, 3136),
    ("cyclic4", 64, 3136),
    ("octahedral", 16, 3136),
)


def linear(kind: str, name: str, channels: int, tokens: int, backward: bool, dtype=None):
    """Make a contender: a layer, with both gradients if ``backward``."""
    import jax
    from flax import nnx

    from gconv_jax.nnx import GroupLinear

    order, options = group(name).order, {"dtype": dtype, "rngs": nnx.Rngs(0)}
    if kind == "dense":
        layer, shape = nnx.Linear(order * channels, order * channels, **options), (tokens, -1)
    else:
        layer = GroupLinear(channels, channels, group=group(name), algorithm=kind, **options)
        shape = tokens, order, channels
    graph, params = nnx.split(layer)
    x = jax.random.normal(jax.random.key(0), (tokens, order, channels), dtype).reshape(shape)

    def forward(params, x):
        return nnx.merge(graph, params)(x)

    def both(params, x, g):
        y, pull = jax.vjp(forward, params, x)
        return y, pull(g)

    if backward:
        step = jax.jit(both)
        return lambda: step(params, x, x)
    step = jax.jit(forward)
    return lambda: step(params, x)


def group(name: str):
    from gconv_jax import cyclic, dihedral, octahedral

    return {"cyclic4": cyclic(4), "dihedral4": dihedral(4), "octahedral": octahedral()}[name]


def main() -> None:
    args = harness.options(__doc__, rounds=9).parse_args()
    shapes = (("dihedral4", 4, 16),) if args.quick else SHAPES
    rounds = 2 if args.quick else args.rounds
    print(harness.header())
    from gconv_jax.groups.correlation import multiplications

    rows = []
    with harness.Worker("linear", JAX_IMPORTS) as worker:
        for name, channels, tokens in shapes:
            cost = multiplications(group(name))
            for backward in (False, True):
                spec = {"name": name, "channels": channels, "tokens": tokens, "backward": backward}
                builders = {
                    kind: lambda kind=kind, spec=spec: worker.build(linear, kind=kind, **spec)
                    for kind in ("auto", "fourier", "dense")
                }
                seconds, notes = harness.measure(builders, rounds)
                harness.describe(notes)
                row = {"group": name, "channels": channels, "tokens": tokens}
                row["pass"] = "forward+backward" if backward else "forward"
                row["nnx.Linear ms"] = 1e3 * seconds["dense"]
                row |= {k: seconds[k] / seconds["dense"] for k in ("auto", "fourier")}
                rows.append(row | {"fewer": group(name).order ** 2 / cost})
    print(harness.table(rows))
    harness.write_json(args, "linear", rows=rows)


if __name__ == "__main__":
    main()
