"""All measurements on a GPU, in one call.

    python benchmarks/gpu.py [--budget-seconds 480] [--parts p4cnn,epochs] [--quick] [--json PATH]

The script runs in a checkout without installation. It needs jax, flax, optax and numpy; PyTorch is
a contender where it sees the GPU. Measurements that no longer fit into the budget are left out and
named. Several runs are dispatched before they are waited for. float32 means the default of both
libraries on that GPU, TF32 convolutions included. On a CPU, ``--quick`` shows that it runs.
"""

import os
import re
import time

# PyTorch and workers need some of the memory.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import harness
import jax
import linear as linear_maps
import transformer
from group_conv import best_matmul, group, jax_group_conv, matmul
from networks import JAX_IMPORTS, Training, data, jax_model, jax_network, torch_p4cnn
from planar_conv import flops, jax_conv, label, torch_conv

DTYPES = ("float32", "bfloat16")
ON_GPU = jax.default_backend() == "gpu"
MATMULS = (2048, 4096, 8192)
PLANAR = [
    (1024, 26, 40, 40, 3, 0),
    (1024, 12, 40, 40, 3, 0),
    (128, 32, 80, 80, 3, 1),
    (256, 16, 176, 176, 3, 1),
]
GROUP = [("cyclic4", 64), ("dihedral4", 16), ("dihedral4", 64)]
LINEAR = [("dihedral4", 64, 25088), ("dihedral4", 128, 25088), ("octahedral", 32, 25088)]
BLOCKS = [
    ("convnext", "dihedral4", 512, 14, 128),
    ("attention", "dihedral4", 512, 14, 128),
    ("vit", "dihedral4", 512, 14, 128),
    ("vit", "dihedral4", 1024, 14, 64),
]
EPOCH, BATCH, SEEDS = 12_000, 128, 5


class Budget:
    """The time that is left, and the figures so far."""

    def __init__(self, args):
        self.args, self.start = args, time.monotonic()
        self.figures = {"device": jax.devices()[0].device_kind, "skipped": []}

    def fits(self, what: str, seconds: float) -> bool:
        """Return whether so much time is left, and print a line if it is not."""
        left = self.args.budget_seconds - (time.monotonic() - self.start)
        if left < seconds:
            print(f"skipped, {left:.0f} s are left and it may take {seconds:.0f}: {what}")
            self.figures["skipped"].append(what)
        return left >= seconds

    def report(self, name: str, rows: list[dict]) -> None:
        """Print a table if it has rows, and write all figures so far."""
        if not rows:
            return
        print(f"\n{name}, after {time.monotonic() - self.start:.0f} s\n\n{harness.table(rows)}")
        self.figures[name] = rows
        harness.write_json(self.args, "gpu", **self.figures)


def here(factory, **spec):
    """Return a builder of a contender in this process."""

    def build() -> harness.Contender:
        try:
            if factory in (torch_conv, torch_p4cnn) and ON_GPU:
                import torch

                torch.zeros(1, device="cuda")
            run = harness.local(factory(**spec), together=True)
            run(2)
        except Exception as error:
            raise harness.Unavailable(harness.brief(error)) from error
        return run

    return build


def measure(builders: dict, args) -> dict[str, float]:
    seconds, notes = harness.measure(builders, args.rounds, most=200)
    harness.describe(notes)
    return seconds


def peak(budget: Budget, args) -> dict[str, float]:
    """Measure the operations a second of the best matrix product, for each dtype."""
    sizes = (256,) if args.quick else MATMULS
    peaks, rows = {}, []
    for dtype in DTYPES:
        n = best_matmul(lambda n, dtype=dtype: here(matmul, n=n, dtype=dtype)(), 3, sizes)
        (seconds,) = measure({"matmul": here(matmul, n=n, dtype=dtype)}, args).values()
        peaks[dtype] = 2 * n**3 / seconds
        rows.append({"type": dtype, "size": n, "TFLOP/s": peaks[dtype] / 1e12})
    budget.report("matrix products", rows)
    return peaks


def planar(budget: Budget, args, peaks) -> None:
    rows = []
    for shape in [(2, *PLANAR[1][1:])] if args.quick else PLANAR:
        for dtype in DTYPES:
            for backward in (False, True):
                what = f"{label(shape)} {dtype} {'forward+backward' if backward else 'forward'}"
                if not budget.fits(what, 12):
                    continue
                spec = {"shape": shape, "backward": backward, "dtype": dtype}
                builders = {
                    "ours": here(jax_conv, implementation="auto", **spec),
                    "torch": here(torch_conv, **spec),
                }
                seconds = measure(builders, args)
                row = {"convolution": what}
                if "ours" in seconds:
                    share = flops(shape, backward) / seconds["ours"] / peaks[dtype]
                    row |= {"ours ms": 1e3 * seconds["ours"], "share of peak": share}
                rows.append(row | harness.over(seconds, "ours"))
    budget.report("planar convolutions", rows)


def groups(budget: Budget, args) -> None:
    rows = []
    for name, channels in [("cyclic4", 4)] if args.quick else GROUP:
        for kernel in (3, 1):
            for dtype in DTYPES:
                for backward in (False, True):
                    n, pixels = (2, 8) if args.quick else (256, 16)
                    what = f"{name} {channels} {kernel}x{kernel} {dtype}"
                    what += " forward+backward" if backward else " forward"
                    if not budget.fits(what, 12):
                        continue
                    shape = (n, pixels, channels, channels, kernel, kernel // 2)
                    wide = group(name).order * channels
                    dense = (n, pixels, wide, wide, kernel, kernel // 2)
                    spec = {"shape": shape, "name": name, "backward": backward, "dtype": dtype}
                    builders = {
                        which: here(jax_group_conv, algorithm=which, **spec)
                        for which in ("dense", "fourier", "auto")
                    }
                    spec = {"shape": dense, "backward": backward, "dtype": dtype}
                    builders["plain"] = here(jax_conv, implementation="auto", **spec)
                    builders["torch"] = here(torch_conv, **spec)
                    seconds = measure(builders, args)
                    row = {"group convolution": what}
                    if "dense" in seconds:
                        row["dense ms"] = 1e3 * seconds["dense"]
                    rows.append(row | harness.over(seconds, "dense"))
    budget.report("group convolutions", rows)


def beside_flax(budget: Budget, args, name: str, make, specs: list[dict], forms) -> None:
    """Measure layers or blocks in the ``forms`` of each spec, the first of which is Flax's."""
    rows = []
    for spec in specs:
        kinds = forms(spec)
        for dtype in DTYPES:
            for backward in (False, True):
                given = " ".join(str(value) for value in spec.values())
                what = f"{given} {dtype} {'forward+backward' if backward else 'forward'}"
                if not budget.fits(f"{name} {what}", 15):
                    continue
                options = {**spec, "dtype": dtype, "backward": backward}
                builders = {kind: here(make, kind=kind, **options) for kind in kinds}
                seconds = measure(builders, args)
                row = {name: what}
                if kinds[0] in seconds:
                    row["Flax ms"] = 1e3 * seconds[kinds[0]]
                    row |= {
                        f"{kind} / Flax": seconds[kind] / seconds[kinds[0]]
                        for kind in kinds[1:]
                        if kind in seconds
                    }
                rows.append(row)
    budget.report(name, rows)


def linear(budget: Budget, args) -> None:
    shapes = [("dihedral4", 4, 16)] if args.quick else LINEAR
    specs = [dict(zip(("name", "channels", "tokens"), shape, strict=True)) for shape in shapes]

    def forms(spec: dict) -> list[str]:
        return ["dense", "auto", "fourier"]

    beside_flax(budget, args, "linear map", linear_maps.linear, specs, forms)


def blocks(budget: Budget, args) -> None:
    shapes = [(shape[0], "dihedral4", 64, 4, 1) for shape in BLOCKS] if args.quick else BLOCKS
    keys = ("model", "name", "width", "side", "batch")
    specs = [dict(zip(keys, shape, strict=True)) for shape in shapes]

    def forms(spec: dict) -> list[str]:
        return transformer.forms(spec["model"])

    beside_flax(budget, args, "block", transformer.block, specs, forms)


def steps(budget: Budget, args, network: str, batch: int, need: float, **size) -> None:
    """Measure training steps of the G-CNN and of the plain CNN of equal dense width."""
    rows = []
    for dtype in DTYPES:
        if not budget.fits(f"{network} training step {dtype}", need):
            continue
        spec = {"network": network, "mode": "train", "batch": batch, "dtype": dtype, **size}
        builders = {twin: here(jax_network, twin=twin, **spec) for twin in ("group", "plain")}
        if network == "p4cnn" and dtype == "float32":
            torch = {"mode": "train", "batch": batch, "channels_last": True}
            builders["torch"] = here(torch_p4cnn, **torch)
        seconds = measure(builders, args)
        row = {"network": network, "batch": batch, "type": dtype}
        if seconds.keys() >= {"group", "plain"}:
            row |= {
                "ms": 1e3 * seconds["group"],
                "images/s": batch / seconds["group"],
                "plain ms": 1e3 * seconds["plain"],
                "step / plain": seconds["group"] / seconds["plain"],
            }
        if "torch" in seconds:
            row["torch ms"] = 1e3 * seconds["torch"]
        rows.append(row)
    budget.report(f"{network} training step", rows)


def epochs(budget: Budget, args) -> None:
    """Measure an epoch of P4CNN in one dispatch, with the data on the device: of one seed, and of
    several that are trained together."""
    count, batch = (64, 8) if args.quick else (EPOCH, BATCH)
    images, labels = data("p4cnn", count)
    rows = []
    for dtype in DTYPES:
        for twin, seeds in (("group", 1), ("plain", 1), ("group", SEEDS)):
            if not budget.fits(f"epoch {twin} {dtype}, {seeds} seeds", 40):
                continue
            training = Training(jax_model("p4cnn", twin, dtype))

            def epoch(state, key, images, labels, training=training):
                order = jax.random.permutation(key, count)[: count // batch * batch]

                def step(state, index):
                    return training.train(state, images[index], labels[index])

                state, losses = jax.lax.scan(step, state, order.reshape(-1, batch))
                return state, losses.mean()

            state, split = training.state, jax.random.key
            if seeds > 1:
                epoch = jax.vmap(epoch, in_axes=(0, 0, None, None))
                state = jax.tree.map(lambda a: jax.numpy.stack(seeds * [a]), state)  # noqa: B023

                def split(number):
                    return jax.random.split(jax.random.key(number), seeds)  # noqa: B023

            epoch = jax.jit(epoch, donate_argnums=0)
            start, seconds = time.perf_counter(), []
            for number in range(1 + min(args.rounds, 5)):
                state, _ = jax.block_until_ready(epoch(state, split(number), images, labels))
                seconds.append(time.perf_counter() - start)
                start = time.perf_counter()
            median = harness.medians({"epoch": seconds[1:]})["epoch"]
            row = {"network": twin, "type": dtype, "seeds": seeds, "images": count}
            row |= {"seconds": median, "images/s": seeds * count / median, "first": seconds[0]}
            rows.append(row)
    budget.report("epoch in one dispatch", rows)


def program(budget: Budget, args) -> None:
    """Count the operations of the compiled training step that only move data, and its memory."""
    batch, rows = (4 if args.quick else BATCH), []
    image, labels = data("p4cnn", batch)
    for dtype in DTYPES:
        for twin in ("group", "plain"):
            if not budget.fits(f"program {twin} {dtype}", 45):
                continue
            training = Training(jax_model("p4cnn", twin, dtype))
            step = jax.jit(training.train, donate_argnums=0)
            compiled = step.lower(training.state, image, labels).compile()
            text = compiled.as_text()
            entry = text[text.index("\nENTRY") :]  # as kernels of their own; others are fused
            row = {"network": twin, "type": dtype}
            for operation in ("transpose", "copy"):
                pattern = rf"= \S+ {operation}(-start)?\("
                row[operation] = len(re.findall(pattern, entry))
                row[f"{operation}, fused too"] = len(re.findall(pattern, text))
            row["kernels"] = len(re.findall(r"= \S.* (fusion|custom-call|convolution)\(", entry))
            memory = compiled.memory_analysis()
            row["planned MB"] = (memory.temp_size_in_bytes + memory.argument_size_in_bytes) / 1e6
            row["peak MB"] = peak_memory(twin, dtype, batch)
            rows.append(row)
    budget.report("compiled training step of P4CNN", rows)


def peak_memory(twin: str, dtype: str, batch: int) -> float | None:
    """Measure the device's peak memory in a process with the training step and its compilation."""
    with harness.Worker("networks", JAX_IMPORTS) as worker:
        try:
            worker.build(
                jax_network, network="p4cnn", twin=twin, mode="train", batch=batch, dtype=dtype
            )
            return worker.memory()
        except harness.Unavailable as reason:
            print(reason)
            return None


def resnet(budget: Budget, args) -> None:
    if args.quick:
        steps(budget, args, "p4m_resnet", 1, 60, blocks=1)
    else:
        steps(budget, args, "p4m_resnet", BATCH, 120)


def p4cnn(budget: Budget, args) -> None:
    steps(budget, args, "p4cnn", 4 if args.quick else BATCH, 40)


PARTS = {
    "p4cnn": p4cnn,
    "epochs": epochs,
    "program": program,
    "planar": planar,
    "groups": groups,
    "resnet": resnet,
    "linear": linear,
    "blocks": blocks,
}


def main() -> None:
    parser = harness.options(__doc__, rounds=7)
    parser.add_argument("--budget-seconds", type=float, default=480)
    parser.add_argument(
        "--parts",
        type=harness.comma(),
        default=list(PARTS),
        help=f"what to measure, in this order: {','.join(PARTS)}",
    )
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"--parts: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if args.quick:
        args.rounds = 2
    budget = Budget(args)
    print(f"{budget.figures['device']}; {harness.header()}")
    peaks = peak(budget, args)
    for part in args.parts:
        extra = (peaks,) if PARTS[part] is planar else ()
        PARTS[part](budget, args, *extra)
    # The peak is that of the whole process; on a CPU there are no such statistics.
    stats = jax.local_devices()[0].memory_stats() or {}
    budget.report("memory", [{"peak MB of all": stats.get("peak_bytes_in_use", 0) / 1e6 or None}])


if __name__ == "__main__":
    main()
