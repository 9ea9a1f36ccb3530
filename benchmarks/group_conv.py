"""Group convolutions: dense and Fourier, beside plain convolutions of the same dense width.

    python benchmarks/group_conv.py [--groups cyclic4,dihedral4] [--channels 4,16,64] [--quick]

`dense` and `fourier` are the algorithms of `gconv_jax.group_conv`. `plain` is `planar_conv` on
|G| C_in to |G| C_out channels, `lax` is XLA's convolution and `torch` PyTorch's on the same, which
are spared the expansion of the filter bank. Ratios are to `ours`, the faster of `dense` and
`fourier`: above 1 is slower than it. `auto` is the form that ``algorithm="auto"`` compiles to, and
the time of that form relative to the faster one. The share of the peak is that of the
multiplications that the faster form needs, in matrix products measured in the same turns.
"""

import harness
from planar_conv import JAX_IMPORTS, jax_conv, jax_step, torch_conv

GROUPS = {
    "cyclic1": "cyclic(1)",
    "cyclic2": "cyclic(2)",
    "cyclic4": "cyclic(4)",
    "cyclic8": "cyclic(8)",
    "dihedral1": "dihedral(1)",
    "dihedral2": "dihedral(2)",
    "dihedral4": "dihedral(4)",
    "dihedral8": "dihedral(8)",
}
ALGORITHMS = ("dense", "fourier")
MATMULS = (512, 1024, 2048)


def group(name: str):
    """Return the group of that name, an expression over the functions of `gconv_jax`."""
    import gconv_jax

    return eval(GROUPS[name], vars(gconv_jax).copy())


def jax_group_conv(shape, name: str, algorithm: str, backward: bool, dtype: str = "float32"):
    """Make a contender; the channels of ``shape`` are for each group element."""
    import jax
    import jax.numpy as jnp

    from gconv_jax import group_conv

    n, pixels, c_in, c_out, k, padding = shape
    g = group(name)
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (n, pixels, pixels, g.order, c_in), jnp.dtype(dtype))
    w = jax.random.normal(keys[1], (k, k, g.order, c_in, c_out), jnp.dtype(dtype)) / k

    def conv(x, w):
        return group_conv(x, w, group=g, padding=padding, algorithm=algorithm)

    return jax_step(conv, x, w, backward)


def matmul(n: int, dtype: str = "float32"):
    """Make a contender: a product of two square matrices, ``2 n**3`` operations."""
    import jax
    import jax.numpy as jnp

    a = jax.random.normal(jax.random.key(0), (n, n), jnp.dtype(dtype))
    product = jax.jit(jnp.matmul)
    return lambda: product(a, a)


def multiplications(name: str) -> dict[str, int]:
    """Return the multiplications of a form, for each tap and pair of channels.

    They are |G|^2 in the dense form, and ``sum (d/e) d^2`` over the real irreducible
    representations in the Fourier form.

    Correlation with a random symmetric function commutes with the group, so its eigenvalues are
    as many-fold as the representations are large, and each of those occurs d/e times.
    """
    import numpy as np

    g = group(name)
    f = np.random.default_rng(0).normal(size=g.order)
    f = f + f[g.inverse]
    values = np.sort(np.linalg.eigvalsh(f[g.cayley[g.inverse]]))
    sizes = np.diff(np.flatnonzero(np.diff(values, prepend=-np.inf, append=np.inf) > 1e-9))
    return {"dense": g.order**2, "fourier": int((sizes**2).sum())}


def best_matmul(build, rounds: int, sizes=MATMULS) -> int:
    """Return the size whose product has the most operations a second; ``build`` contenders."""
    seconds, _ = harness.measure({n: lambda n=n: build(n) for n in sizes}, rounds)
    return max(seconds, key=lambda n: n**3 / seconds[n])


def main() -> None:
    parser = harness.options(__doc__, rounds=7)
    parser.add_argument(
        "--groups",
        type=harness.comma(),
        default="cyclic1,cyclic4,dihedral4",
        help=", ".join(GROUPS),
    )
    parser.add_argument("--channels", type=harness.comma(int), default="4,8,16,32,64,128")
    parser.add_argument("--kernels", type=harness.comma(int), default="3,1")
    parser.add_argument("--pixels", type=int, default=16)
    parser.add_argument("--padding", choices=("same", "valid"), default="same")
    parser.add_argument("--batch", type=int, default=16)
    args = parser.parse_args()
    if args.quick:
        args.groups, args.channels, args.pixels, args.batch = ["cyclic4"], [4], 8, 2
        args.rounds = 2
    print(harness.header())
    rows, notes = [], {}
    with (
        harness.Worker("group_conv", JAX_IMPORTS) as ours,
        harness.Worker("group_conv", ("torch",)) as torch,
    ):
        peak = best_matmul(
            lambda n: ours.build(matmul, n=n), args.rounds, MATMULS[:1] if args.quick else MATMULS
        )
        for name in args.groups:
            for kernel in args.kernels:
                for channels in args.channels:
                    padding = kernel // 2 if args.padding == "same" else 0
                    shape = (args.batch, args.pixels, channels, channels, kernel, padding)
                    for backward in (False, True):
                        row, new_notes = compare(
                            ours, torch, name, shape, backward, peak, args.rounds
                        )
                        rows.append(row)
                        notes |= new_notes
                        harness.write_json(args, "group_conv", rows=rows, notes=notes)
                        ours.drop(), torch.drop()
    print(harness.table([_columns(row) for row in rows]))
    worst = max((row["auto_over_best"] for row in rows if "auto_over_best" in row), default=None)
    if worst is not None:
        print(f"auto is at most {worst:.3f} times slower than the better form.")
    harness.describe(notes)


def compare(ours, torch, name: str, shape, backward: bool, peak: int, rounds: int):
    """Return one row of figures, and notes on why contenders could not run."""
    n, pixels, channels, _, kernel, padding = shape
    order = group(name).order
    dense_shape = (n, pixels, order * channels, order * channels, kernel, padding)
    programs = {}

    def algorithm(which):
        built = ours.build(
            jax_group_conv, shape=shape, name=name, algorithm=which, backward=backward
        )
        programs[which] = built.program
        return built

    def plain(implementation):
        return ours.build(
            jax_conv, shape=dense_shape, implementation=implementation, backward=backward
        )

    builders = {which: lambda which=which: algorithm(which) for which in ALGORITHMS}
    builders["auto"] = lambda: algorithm("auto")
    builders["plain"] = lambda: plain("auto")
    builders["lax"] = lambda: plain("lax")
    builders["torch"] = lambda: torch.build(torch_conv, shape=dense_shape, backward=backward)
    builders["matmul"] = lambda: ours.build(matmul, n=peak)
    seconds, new_notes = harness.measure(builders, rounds)

    peak_flops = 2 * peak**3 / seconds.pop("matmul")
    counts = {k: v * kernel**2 * channels**2 for k, v in multiplications(name).items()}
    row = {
        "group": name,
        "channels": channels,
        "kernel": kernel,
        "pass": "forward+backward" if backward else "forward",
        "multiplications_per_pixel": counts,
        "peak_gflops_per_second": peak_flops / 1e9,
        "milliseconds": {k: 1e3 * s for k, s in seconds.items()},
    }
    forms = {which: seconds[which] for which in ALGORITHMS if which in seconds}
    if forms:
        best = min(forms, key=forms.get)
        output = n * (pixels + 2 * padding - kernel + 1) ** 2
        products = counts[best] * output * (3 if backward else 1)
        row |= {"best": best, "share_of_peak": 2 * products / forms[best] / peak_flops}
    if forms and "auto" in seconds:
        # Equal programs take equal times, so their difference would be noise.
        same = [which for which in forms if programs[which] == programs["auto"]]
        row["auto"] = same[0] if same else "other"
        row["auto_over_best"] = (forms[same[0]] if same else seconds["auto"]) / forms[best]
    return row, new_notes


def _columns(row: dict) -> dict:
    ms = dict(row["milliseconds"])
    ms.pop("auto", None)
    ours = ms.get(row.get("best"))
    counts = row["multiplications_per_pixel"]
    columns = {
        "group": row["group"],
        "channels": row["channels"],
        "kernel": row["kernel"],
        "pass": row["pass"],
        "dense/pixel": counts["dense"],
        "fourier/pixel": counts["fourier"],
        "faster": row.get("best"),
        "ours ms": ours,
        "share of peak": row.get("share_of_peak"),
        "auto": row.get("auto"),
        "auto /ours": row.get("auto_over_best"),
    }
    if ours is None:
        return columns
    return columns | {f"{name} /ours": value / ours for name, value in ms.items()}


if __name__ == "__main__":
    main()
