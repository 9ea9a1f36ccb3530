"""Ways to compute strided convolutions on a CPU without oneDNN, from which `auto` chooses.

    python benchmarks/strides.py [--quick] [--rounds N] [--json PATH]

Filters are whole blocks of s x s pixels. `patches` are products of patches that are read at
strides, `blocks` take a block for a pixel with more channels, and `xla` is XLA's convolution and
its derivatives. Times are in milliseconds, and ratios are "A / auto": below 1 is faster than its
choice. The input gradient is what a transposed convolution computes.
"""

import harness

JAX_IMPORTS = ("jax", "gconv_jax")
# Images, side, channels in and out, filter size, stride, padding, dimension.
CASES = (
    (4, 24, 32, 32, 4, 2, 1, 3),
    (2, 24, 48, 48, 4, 2, 1, 3),
    (4, 16, 64, 64, 2, 2, 0, 3),
    (2, 28, 1, 16, 2, 2, 0, 3),
    (16, 32, 32, 32, 4, 2, 1, 2),
    (16, 32, 64, 64, 4, 2, 1, 2),
    (32, 32, 64, 128, 2, 2, 0, 2),
    (128, 16, 16, 16, 2, 2, 0, 2),
    (16, 32, 3, 64, 4, 4, 0, 2),
    (16, 64, 3, 32, 2, 2, 0, 2),
    (16, 28, 1, 32, 4, 2, 1, 2),
)
QUICK = ((2, 6, 4, 4, 2, 2, 0, 2), (1, 4, 2, 2, 4, 2, 1, 3))
CONTENDERS = ("auto", "patches", "blocks", "xla")
FORMS = ("OUTPUT", "INPUT_GRADIENT", "FILTER_GRADIENT")


def step(contender: str, form: str, case: list):
    """Make a contender: one form of one convolution."""
    import hashlib

    import jax
    import numpy as np

    from gconv_jax.planar.implementation import make_static, planar_form, planar_implementation
    from gconv_jax.planar.primitive import Form

    n, side, c_in, c_out, kernel, stride, padding, rank = case
    with planar_implementation(contender):
        static = make_static(
            (side,) * rank,
            (kernel,) * rank,
            strides=(stride,) * rank,
            padding=((padding, padding),) * rank,
            dilation=(1,) * rank,
            precision=None,
        )
        rng = np.random.default_rng(0)  # the caches of JAX are cleared, and its numbers compiled
        x, w, g = (
            jax.numpy.asarray(rng.normal(size=shape), "float32")
            for shape in (
                (n, *(side,) * rank, c_in),
                (*(kernel,) * rank, c_in, c_out),
                (n, *static.geometry.output, c_out),
            )
        )
        lhs, rhs = {"OUTPUT": (x, w), "INPUT_GRADIENT": (g, w), "FILTER_GRADIENT": (x, g)}[form]
        run = jax.jit(lambda lhs, rhs: planar_form(Form[form], lhs, rhs, static))
        lowered = run.lower(lhs, rhs)
        compiled = lowered.compile()

    def once():
        return compiled(lhs, rhs)

    once.program = hashlib.sha256(lowered.as_text().encode()).hexdigest()
    return once


def main() -> None:
    args = harness.options(__doc__, rounds=7).parse_args()
    print(harness.header())
    rows, notes = [], {}
    with harness.Worker("strides", JAX_IMPORTS) as worker:
        for case in QUICK if args.quick else CASES:
            n, side, c_in, c_out, kernel, stride, _, rank = case
            for form in FORMS:
                programs = {}

                def build(contender, form=form, case=case, programs=programs):
                    built = worker.build(step, contender=contender, form=form, case=list(case))
                    programs[contender] = built.program
                    return built

                builders = {c: lambda c=c, build=build: build(c) for c in CONTENDERS}
                seconds, new = harness.measure(builders, 2 if args.quick else args.rounds)
                notes |= new
                size = "x".join([str(side)] * rank)
                same = [c for c in CONTENDERS[1:] if programs[c] == programs["auto"]]
                rows.append(
                    {
                        "convolution": f"{n} x {size}, {c_in} -> {c_out}, {kernel} by {stride}",
                        "form": form.lower().replace("_", " "),
                        "auto is": same[0] if same else "another",
                        **{f"{c} ms": 1e3 * s for c, s in seconds.items()},
                        **harness.over(seconds, "auto"),
                    }
                )
                harness.write_json(args, "strides", rows=rows, notes=notes)
                worker.drop()
    print(harness.table(rows))
    harness.describe(notes)


if __name__ == "__main__":
    main()
