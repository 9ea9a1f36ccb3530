"""The growth of time with batch, pixels, group order, seeds at once and simulated devices.

    python benchmarks/scaling.py [--quick] [--rounds N] [--json PATH]

It measures forward passes of one p4 layer (3x3, 16 channels for each group element) and of P4CNN,
and training steps of several P4CNNs in one program, in float32. The exponent is the slope of
log(time) against log(size): 1 is linear. Simulated devices share the same cores and one batch, so
an exponent above 0 is the cost of the division.
"""

import harness
from group_conv import group
from networks import JAX_IMPORTS, data, jax_model, jax_network

BATCHES = (8, 16, 32, 64, 128)
PIXELS = (8, 16, 32, 64)
ORDERS = ("cyclic1", "cyclic2", "cyclic4", "dihedral4")
SEEDS = (1, 2, 4)
DEVICES = (1, 2, 4)


def layer(name: str = "cyclic4", batch: int = 16, pixels: int = 16, channels: int = 16):
    """Make a contender: one group convolution, forward."""
    import jax

    from gconv_jax import group_conv

    g = group(name)
    x = jax.random.normal(jax.random.key(0), (batch, pixels, pixels, g.order, channels))
    w = jax.random.normal(jax.random.key(1), (3, 3, g.order, channels, channels))
    conv = jax.jit(lambda x, w: group_conv(x, w, group=g))
    return lambda: conv(x, w)


def p4cnn_on_devices(batch: int):
    """Make a contender: the logits of P4CNN, each device with its part of the batch."""
    import jax
    from networks import Training

    training = Training(jax_model("p4cnn"))
    devices = jax.local_device_count()
    image, _ = data("p4cnn", batch)
    image = image.reshape(devices, batch // devices, *image.shape[1:])
    # Arrays are moved to their devices before the clock starts.
    image = jax.pmap(lambda x: x)(image)
    state = jax.pmap(lambda _, state: state, in_axes=(0, None))(image, training.state)
    logits = jax.pmap(training.logits)
    return lambda: logits(state, image)


def p4cnn_seeds(seeds: int, batch: int):
    """Make a contender: a training step of so many P4CNNs in one program."""
    import jax
    import jax.numpy as jnp
    from networks import Training

    training = Training(jax_model("p4cnn"))
    image, label = data("p4cnn", batch)
    state = jax.tree.map(lambda a: jnp.stack([a] * seeds), training.state)
    step = jax.jit(jax.vmap(training.train, (0, None, None)))
    return lambda: step(state, image, label)[1]


WHAT = {layer: "p4 layer", jax_network: "P4CNN", p4cnn_seeds: "P4CNN, training"}


def series(worker: harness.Worker, factory, key: str, values, rounds: int, sizes=None, **spec):
    """Return the times for each value of one argument, as a row."""
    builders = {
        value: lambda value=value: worker.build(factory, **{key: value}, **spec) for value in values
    }
    seconds, notes = harness.measure(builders, rounds, turn=0.1)
    return row(WHAT[factory], key, seconds, notes, sizes or {v: v for v in values})


def row(what: str, against: str, seconds: dict, notes: dict, sizes: dict) -> dict:
    done = [value for value in sizes if value in seconds]
    result = {"what": what, "against": against, "notes": notes}
    result["milliseconds"] = {str(value): 1e3 * seconds[value] for value in done}
    if len(done) > 1:
        result["exponent"] = harness.exponent([sizes[v] for v in done], [seconds[v] for v in done])
    return result


def devices(counts, batch: int, rounds: int) -> dict:
    """Measure P4CNN's logits for the same batch on 1, 2, ... simulated devices."""
    flag = "--xla_force_host_platform_device_count"
    workers = {
        n: harness.Worker("scaling", JAX_IMPORTS, env={"XLA_FLAGS": f"{flag}={n}"}) for n in counts
    }
    try:
        builders = {
            n: lambda w=w: w.build(p4cnn_on_devices, batch=batch) for n, w in workers.items()
        }
        seconds, notes = harness.measure(builders, rounds, turn=0.1)
    finally:
        for worker in workers.values():
            worker.close()
    return row("P4CNN", "devices", seconds, notes, {n: n for n in counts})


def main() -> None:
    args = harness.options(__doc__, rounds=7).parse_args()
    rounds = 2 if args.quick else args.rounds
    batches = BATCHES[:2] if args.quick else BATCHES
    pixels = PIXELS[:2] if args.quick else PIXELS
    counts = DEVICES[:2] if args.quick else DEVICES
    seeds = SEEDS[:2] if args.quick else SEEDS
    orders = {name: group(name).order for name in ORDERS}
    print(harness.header())
    with harness.Worker("scaling", JAX_IMPORTS) as worker:
        squares = {n: n**2 for n in pixels}
        network = {"network": "p4cnn", "twin": "group", "mode": "evaluate"}
        rows = [
            series(worker, layer, "batch", batches, rounds),
            series(worker, layer, "pixels", pixels, rounds, squares),
            series(worker, layer, "name", ORDERS, rounds, orders),
            series(worker, jax_network, "batch", batches, rounds, **network),
            series(worker, p4cnn_seeds, "seeds", seeds, rounds, batch=8 if args.quick else 128),
        ]
    rows.append(devices(counts, 8 if args.quick else 128, rounds))
    print(
        harness.table(
            [
                {
                    "what": r["what"],
                    "against": {"name": "group order", "pixels": "pixels (squared)"}.get(
                        r["against"], r["against"]
                    ),
                    "ms": ", ".join(f"{k}: {v:.3g}" for k, v in r["milliseconds"].items()),
                    "exponent": r.get("exponent"),
                }
                for r in rows
            ]
        )
    )
    for r in rows:
        harness.describe({f"{r['what']} {k}": note for k, note in r["notes"].items()})
    harness.write_json(args, "scaling", rows=rows)


if __name__ == "__main__":
    main()
