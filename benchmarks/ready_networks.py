"""The ready networks in evaluation: the time of an image, alone and in a batch.

    python benchmarks/ready_networks.py [--batch N] [--rounds N] [--quick] [--json PATH]

Each is compiled by ``jax.jit`` on pixels in memory, with its parameters as arguments. The table in
docs/models.md is made of it.
"""

import harness

JAX_IMPORTS = ("jax", "numpy", "flax.nnx", "gconv_jax.models")


def network(name: str, batch: int):
    """Make a contender: the logits of one batch."""
    import jax
    import numpy as np
    from flax import nnx

    from gconv_jax.models import load_pretrained, pretrained_config

    shape = pretrained_config(name)["images"]["shape"]
    images = np.random.default_rng(0).integers(0, 256, (batch, *shape)).astype(np.uint8)
    graphdef, state = nnx.split(load_pretrained(name))
    logits = jax.jit(lambda state, x: nnx.merge(graphdef, state)(x))
    x = jax.numpy.asarray(images)
    return lambda: logits(state, x)


def main() -> None:
    from gconv_jax.models import pretrained_networks

    parser = harness.options(__doc__, rounds=9)
    parser.add_argument("--batch", type=int, default=64, help="images in a batch")
    args = parser.parse_args()
    print(harness.header())
    batch = 2 if args.quick else args.batch
    names = pretrained_networks()
    with harness.Worker("ready_networks", JAX_IMPORTS) as worker:
        builders = {
            f"{name} {n}": lambda name=name, n=n: worker.build(network, name=name, batch=n)
            for name in names
            for n in (1, batch)
        }
        seconds, notes = harness.measure(builders, args.rounds, turn=0.2)
    rows = [
        {
            "network": name,
            "one image, ms": 1e3 * seconds[f"{name} 1"],
            f"an image of {batch}, ms": 1e3 * seconds[f"{name} {batch}"] / batch,
        }
        for name in names
    ]
    print(harness.table(rows))
    harness.describe(notes)
    harness.write_json(args, "ready_networks", rows=rows)


if __name__ == "__main__":
    main()
