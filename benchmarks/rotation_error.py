"""Equivariance errors of finer rotations, for every kind of filter and for a plain CNN.

    python benchmarks/rotation_error.py [--quick] [--kernels 5,7] [--json PATH]

The errors are relative, in percent: the largest over the elements that resample the image, and the
mean over networks with random weights. `gconv_jax.testing.equivariance_errors` measures them on
smooth random images of 33 x 33 pixels in float64. The network is LiftConv ("lifting"), ReLU,
GroupConv ("convolved"), ReLU, maximum over the group ("pooled", an image), mean over space
("invariant"). The plain CNN has as many channels. Its errors are those of images where the others
have those of feature maps.
"""

import harness

GROUPS = {"C8": 8, "C16": 16}
FILTERS = ("harmonic", "bilinear", "bicubic", "plain CNN")
COLUMNS = {
    "layers.0": "lifting",
    "layers.2": "convolved",
    "layers.4": "pooled",
    "output": "invariant",
}


def errors(n: int, filters: str, kernel: int, seeds: int) -> dict[str, float]:
    """Return the relative errors after each stage."""
    import jax
    import numpy as np
    from flax import nnx

    from gconv_jax import cyclic, group_pool
    from gconv_jax.nnx import GroupConv, LiftConv
    from gconv_jax.testing import equivariance_errors, smooth_images

    class Stage(nnx.Module):
        def __init__(self, fn):
            self.fn = fn

        def __call__(self, x):
            return self.fn(x)

    group, found = cyclic(n), []
    off_lattice = [g for g in group.elements if not group.isometries[g].is_lattice]
    with jax.enable_x64(True):
        for seed in range(seeds):
            options = {"rngs": nnx.Rngs(seed), "param_dtype": np.float64}
            if filters == "plain CNN":
                size = (kernel, kernel)
                first = nnx.Conv(1, 4 * n, size, **options)
                second, pool = nnx.Conv(4 * n, 4 * n, size, **options), lambda x: x
            else:
                options |= {"group": group, "filters": filters}
                first = LiftConv(1, 4, kernel, **options)
                second, pool = GroupConv(4, 4, kernel, **options), group_pool
            model = nnx.Sequential(
                first, nnx.relu, second, nnx.relu, Stage(pool), lambda x: x.mean((1, 2))
            )
            x = smooth_images((4, 33, 33, 1), seed=seed)
            report = equivariance_errors(model, x, group=group, perturb=False)
            found.append([report.errors[layer][off_lattice].max() for layer in COLUMNS])
    return dict(zip(COLUMNS.values(), (100 * np.mean(found, 0)).tolist(), strict=True))


def main() -> None:
    parser = harness.options(__doc__, rounds=1)
    parser.add_argument("--kernels", type=harness.comma(int), default=[3, 5, 7])
    args = parser.parse_args()
    kernels, seeds = ([3], 1) if args.quick else (args.kernels, 3)
    print(harness.header())
    rows = []
    for name, n in GROUPS.items():
        for kernel in kernels:
            for filters in FILTERS:
                found = errors(n, filters, kernel, seeds)
                rows.append({"group": name, "kernel": kernel, "filters": filters} | found)
    print(harness.table(rows))
    harness.write_json(args, "rotation_error", rows=rows)


if __name__ == "__main__":
    main()
