"""The choice of ``algorithm="auto"`` for finer rotations and volumes: is it the faster form?

    python benchmarks/auto.py [--groups cyclic8,octahedral] [--quick] [--rounds N] [--json PATH]

Layers over C8, C16 and D8 have harmonic filters, those over the rotations of the cube voxels.
``dense`` and ``fourier`` are the algorithms of `gconv_jax.group_conv`, in milliseconds, ``auto`` is
the one that compiles to the same program as ``algorithm="auto"``, or its own milliseconds, and the
last column is its time / that of the faster one. `group_conv.py` has the same for pixels.
"""

import harness
from networks import JAX_IMPORTS
from planar_conv import jax_step

# group, filter size, pixels, batch, channels for each element
LAYERS = [
    *(("cyclic8", 5, 28, 16, c) for c in (2, 4, 8, 16, 32)),
    *(("cyclic8", 7, 14, 16, c) for c in (2, 4, 8, 16, 32)),
    *(("cyclic16", 5, 14, 16, c) for c in (2, 4, 8, 16)),
    *(("cyclic16", 7, 14, 16, c) for c in (2, 4, 8, 16)),
    *(("dihedral8", 5, 14, 16, c) for c in (2, 4, 8, 16)),
    *(("octahedral", 3, 10, 4, c) for c in (2, 4, 8, 16)),
]
FORMS = ("dense", "fourier")
ALGORITHMS = (*FORMS, "auto")


def group_conv(name: str, kernel: int, pixels: int, batch: int, channels: int, **how):
    """Make a contender: one layer, with both gradients if ``backward``."""
    import jax

    import gconv_jax
    from gconv_jax.filters.bank import filter_axes

    group = {
        "cyclic8": gconv_jax.cyclic(8),
        "cyclic16": gconv_jax.cyclic(16),
        "dihedral8": gconv_jax.dihedral(8),
        "octahedral": gconv_jax.octahedral(),
    }[name]
    filters = {"filters": "harmonic" if group.dimension == 2 else "pixel", "kernel_size": kernel}
    taps = filter_axes(filters["filters"], group, (kernel,) * group.dimension)
    keys = jax.random.split(jax.random.key(0))
    space = (pixels,) * group.dimension
    x = jax.random.normal(keys[0], (batch, *space, group.order, channels))
    w = jax.random.normal(keys[1], (*taps, group.order, channels, channels))

    def conv(x, w):
        return gconv_jax.group_conv(x, w, group=group, algorithm=how["algorithm"], **filters)

    return jax_step(conv, x, w, how["backward"])


def main() -> None:
    parser = harness.options(__doc__, rounds=7)
    names = ",".join(dict.fromkeys(layer[0] for layer in LAYERS))
    parser.add_argument("--groups", type=harness.comma(), default=names)
    args = parser.parse_args()
    layers = [layer for layer in LAYERS if layer[0] in args.groups]
    layers = [("cyclic8", 5, 8, 2, 2)] if args.quick else layers
    rounds = 2 if args.quick else args.rounds
    print(harness.header())
    rows = []
    names = ("name", "kernel", "pixels", "batch", "channels")
    with harness.Worker("auto", JAX_IMPORTS) as worker:
        for layer in layers:
            for backward in (False, True):
                spec = dict(zip(names, layer, strict=True)) | {"backward": backward}
                programs = {}

                def build(algorithm, spec=spec, programs=programs):
                    built = worker.build(group_conv, algorithm=algorithm, **spec)
                    programs[algorithm] = built.program
                    return built

                builders = {a: lambda a=a, build=build: build(a) for a in ALGORITHMS}
                seconds, notes = harness.measure(builders, rounds)
                harness.describe(notes)
                row = {name: spec[name] for name in names}
                row["pass"] = "forward+backward" if backward else "forward"
                row |= {a: 1e3 * seconds[a] for a in FORMS}
                # Equal programs take equal times, so their difference would be noise.
                same = [form for form in FORMS if programs[form] == programs["auto"]]
                row["auto"] = same[0] if same else 1e3 * seconds["auto"]
                own = seconds[same[0] if same else "auto"]
                rows.append(row | {"auto / best": own / min(seconds[form] for form in FORMS)})
                worker.drop()
    print(harness.table(rows))
    worst = max(row["auto / best"] for row in rows)
    print(f"auto is at most {worst:.3f} times slower than the better form.")
    harness.write_json(args, "auto", rows=rows)


if __name__ == "__main__":
    main()
