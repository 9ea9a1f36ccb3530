"""A network in evaluation beside the same network frozen (`gconv_jax.export.freeze`).

    python benchmarks/freeze.py [--networks P4CNN,ResNet] [--quick] [--rounds N] [--json PATH]

Both are compiled by ``jax.jit``, the network with its parameters as arguments, as Flax users have
it. Ratios are "A / network": below 1 is faster. ``again`` is the network a second time, whose
distance from 1 is the noise of the measurement. Biases and batch statistics are random, as in a
trained network; those of a new one are 0 and 1, and would vanish in folding.
"""

import harness
from networks import JAX_IMPORTS

# network, options, image, batch
CASES = (
    ("P4CNN", {}, (28, 28, 1), 128),
    ("P4CNN", {}, (28, 28, 1), 1),
    ("SeparableCNN", {}, (28, 28, 1), 128),
    ("SmallE2CNN", {}, (28, 28, 1), 64),
    ("ResNet", {"blocks": 2}, (33, 33, 3), 32),
    ("ResNet", {"blocks": 2}, (33, 33, 3), 1),
    ("DenseNet", {}, (96, 96, 3), 4),
    ("CKResNet", {"width": 16}, (28, 28, 1), 16),
)
QUICK = (("P4CNN", {"width": 2}, (28, 28, 1), 4),)


def network(kind: str, name: str, options: dict, image: tuple, batch: int):
    """Make a contender: the logits of one batch."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from gconv_jax import models
    from gconv_jax.export import freeze

    model = getattr(models, name)(**options, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (batch, *image))

    def trained(a):
        if a.ndim != 1 or not jnp.issubdtype(a.dtype, jnp.floating):
            return a
        return a + 0.1 * jax.random.uniform(jax.random.key(1), a.shape)

    nnx.update(model, jax.tree.map(trained, nnx.state(model)))
    if kind == "frozen":
        frozen = freeze(model)
        return lambda: frozen(x)
    model.eval()
    graphdef, state = nnx.split(model)
    run = jax.jit(lambda state, x: nnx.merge(graphdef, state)(x))
    return lambda: run(state, x)


def main() -> None:
    parser = harness.options(__doc__, rounds=15)
    names = sorted({case[0] for case in CASES})
    parser.add_argument("--networks", type=harness.comma(), default=",".join(names))
    args = parser.parse_args()
    if unknown := set(args.networks) - set(names):
        parser.error(f"--networks are {', '.join(names)}; got {', '.join(sorted(unknown))}")
    cases = QUICK if args.quick else [case for case in CASES if case[0] in args.networks]
    rows = []
    print(harness.header())
    with harness.Worker("freeze", JAX_IMPORTS) as worker:
        for name, options, image, batch in cases:
            given = {"name": name, "options": options, "image": image, "batch": batch}
            builders = {
                kind: lambda kind=kind, given=given: worker.build(network, kind=kind, **given)
                for kind in ("network", "again", "frozen")
            }
            seconds, notes = harness.measure(builders, 2 if args.quick else args.rounds, turn=0.2)
            row = {"network": name, "batch": batch, "network ms": 1e3 * seconds["network"]}
            row |= {kind: seconds[kind] / seconds["network"] for kind in ("again", "frozen")}
            rows.append(row | {"notes": notes})
    print(harness.table([{k: v for k, v in row.items() if k != "notes"} for row in rows]))
    harness.write_json(args, "freeze", rows=rows)


if __name__ == "__main__":
    main()
