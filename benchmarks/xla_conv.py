"""XLA's ways to convolve on a CPU beside patches, from which `auto` chooses without oneDNN.

    python benchmarks/xla_conv.py [--quick] [--rounds N] [--json PATH]

`patches` are products of patches, `xla` is XLA's convolution as it is, and `column` the same with
one column of zeros more on the left, whose results are cut off. `auto` is the choice of
`gconv_jax.planar.conv`. Only forward passes are measured. Ratios are "A / auto": below 1 is faster
than its choice.
"""

import harness

JAX_IMPORTS = ("jax", "gconv_jax")
# Images, spatial sizes, channels, kernel, stride, padding, dilation: no padding, and some, from
# large to tiny images; few images, strides, dilation, a line and a volume.
CASES = (
    (128, (26, 26), 40, (3, 3), 1, 0, 1),
    (128, (28, 28), 20, (5, 5), 1, 0, 1),
    (128, (10, 10), 160, (3, 3), 1, 0, 1),
    (128, (6, 6), 160, (3, 3), 1, 0, 1),
    (128, (5, 5), 160, (3, 3), 1, 0, 1),
    (128, (4, 4), 160, (3, 3), 1, 0, 1),
    (1, (28, 28), 40, (3, 3), 1, 0, 1),
    (128, (32, 32), 80, (3, 3), 1, 1, 1),
    (128, (16, 16), 176, (3, 3), 1, 1, 1),
    (32, (16, 16), 128, (3, 3), 1, 1, 1),
    (16, (16, 16), 128, (3, 3), 1, 1, 1),
    (8, (16, 16), 128, (3, 3), 1, 1, 1),
    (128, (3, 3), 160, (3, 3), 1, 1, 1),
    (128, (2, 2), 160, (3, 3), 1, 1, 1),
    (128, (24, 24), 40, (3, 3), 1, 2, 1),
    (32, (33, 33), 88, (3, 3), 2, 0, 1),
    (32, (33, 33), 88, (3, 3), 2, 1, 1),
    (32, (33, 33), 40, (3, 3), 1, 0, 2),
    (32, (33, 33), 40, (3, 3), 1, 2, 2),
    (64, (256,), 64, (9,), 1, 0, 1),
    (64, (256,), 64, (9,), 1, 0, 4),
    (8, (17, 17, 17), 24, (3, 3, 3), 1, 1, 1),
)
QUICK = ((2, (6, 6), 12, (3, 3), 1, 0, 1), (2, (9,), 12, (3,), 2, 1, 1))
CONTENDERS = ("auto", "patches", "xla", "column")


def step(contender: str, case: tuple):
    """Make a contender: one convolution."""
    import jax

    from gconv_jax.planar.conv import planar_conv
    from gconv_jax.planar.implementation import planar_implementation

    n, spatial, channels, kernel, stride, padding, dilation = case
    rank, column = len(spatial), contender == "column"
    pads = [(padding, padding)] * rank
    if column:
        pads[-1] = (padding + stride, padding)
    settings = {"strides": (stride,) * rank, "padding": pads, "dilation": (dilation,) * rank}
    x = jax.random.normal(jax.random.key(0), (n, *spatial, channels))
    w = jax.random.normal(jax.random.key(1), (*kernel, channels, channels))

    def conv(x, w):
        y = planar_conv(x, w, **settings)
        return y[..., 1:, :] if column else y

    with planar_implementation("xla" if column else contender):
        compiled = jax.jit(conv).lower(x, w).compile()
    return lambda: compiled(x, w)


def main() -> None:
    args = harness.options(__doc__, rounds=7).parse_args()
    rows, notes = [], {}
    print(harness.header())
    with harness.Worker("xla_conv", JAX_IMPORTS) as worker:
        for case in QUICK if args.quick else CASES:
            builders = {
                name: lambda name=name, case=case: worker.build(step, contender=name, case=case)
                for name in CONTENDERS
            }
            seconds, new_notes = harness.measure(builders, 2 if args.quick else args.rounds)
            notes |= new_notes
            rows.append({"case": case, "milliseconds": {k: 1e3 * s for k, s in seconds.items()}})
            worker.drop()
    print(harness.table([_columns(row) for row in rows]))
    harness.describe(notes)
    harness.write_json(args, "xla_conv", rows=rows, notes=notes)


def _columns(row: dict) -> dict:
    n, spatial, channels, kernel, stride, padding, dilation = row["case"]
    return {
        "images": f"{n} x {'x'.join(map(str, spatial))}",
        "channels": channels,
        "kernel": "x".join(map(str, kernel)),
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "auto ms": row["milliseconds"].get("auto"),
        **harness.over(row["milliseconds"], "auto"),
    }


if __name__ == "__main__":
    main()
