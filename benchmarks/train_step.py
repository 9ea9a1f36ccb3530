"""Training and evaluation steps of whole networks, each contender in a process of its own.

    python benchmarks/train_step.py [--models p4cnn,p4m_resnet] [--batch N] [--escnn-python PATH]

`gconv_jax` is the G-CNN and `plain` the CNN of equal dense width through the same `planar_conv`;
`plain flax` is that of Flax's layers and XLA's convolution, and `plain flax, ours` that of Flax's
layers with `gconv_jax.conv_general_dilated`; `torch` is a PyTorch network with the filter bank by
an index gather, `torch channels-last` the same in the other memory format. float32, Adam, batch
norm in training mode. Ratios are those of `gconv_jax` to each of the others, and to the fastest of
torch and escnn (`best peer`): below 1 is faster than it. Memory is the peak of the process during
training steps above its level after imports.
"""

import contextlib
import importlib.util
import os
import sys

import harness
from networks import JAX_IMPORTS, escnn_e2cnn, escnn_p4cnn, jax_network, torch_p4cnn

JAX = {
    "gconv_jax": "group",
    "plain": "plain",
    "plain flax": "flax",
    "plain flax, ours": "flax, ours",
}
PEERS = ("torch", "torch channels-last", "escnn")
CONTENDERS = {
    "p4cnn": [*JAX, *PEERS],
    "p4m_resnet": ["gconv_jax", "plain"],
    "e2cnn": ["gconv_jax", "escnn"],
}
BATCH = {"p4cnn": 128, "p4m_resnet": 32, "e2cnn": 16}


def worker(contender: str, escnn_python: str) -> harness.Worker:
    if contender in JAX:
        return harness.Worker("networks", JAX_IMPORTS)
    if contender == "escnn":
        return harness.Worker("networks", ("torch", "escnn.nn"), python=escnn_python)
    python = sys.executable if importlib.util.find_spec("torch") else escnn_python
    return harness.Worker("networks", ("torch",), python=python)


def build(contender: str, worker: harness.Worker, model: str, mode: str, batch: int, size: dict):
    spec = {"mode": mode, "batch": batch}
    if contender in JAX:
        return worker.build(jax_network, network=model, twin=JAX[contender], **spec, **size)
    if contender == "escnn":
        network = {"p4cnn": escnn_p4cnn, "e2cnn": escnn_e2cnn}[model]
        return worker.build(network, **spec)
    return worker.build(torch_p4cnn, channels_last=contender != "torch", **spec)


def compare(model: str, batch: int, rounds: int, escnn_python: str, size: dict):
    """Return figures of the contenders, one row for each mode, and why some could not run."""
    rows, notes = [], {}
    with contextlib.ExitStack() as stack:
        workers = {c: stack.enter_context(worker(c, escnn_python)) for c in CONTENDERS[model]}
        for mode in ("train", "evaluate"):
            builders = {
                name: lambda name=name, mode=mode: build(
                    name, workers[name], model, mode, batch, size
                )
                for name in workers
            }
            seconds, new_notes = harness.measure(builders, rounds, turn=0.3)
            notes |= new_notes
            row = {"model": model, "mode": mode, "batch": batch, "seconds": seconds}
            if mode == "train":
                row["peak_megabytes"] = {name: workers[name].memory() for name in seconds}
            rows.append(row)
            for w in workers.values():
                w.drop()
        packages = {name: w.versions for name, w in workers.items()}
    return rows, notes, packages


def columns(row: dict) -> list[dict]:
    """Return a line of the table for each contender."""
    seconds, memory = row["seconds"], row.get("peak_megabytes", {})
    ours, peers = seconds.get("gconv_jax"), [seconds[name] for name in PEERS if name in seconds]
    lines = [
        {
            "model": row["model"],
            "step": row["mode"],
            "contender": name,
            "ms": 1e3 * s,
            "images/s": row["batch"] / s,
            "peak MB": memory.get(name),
            "gconv_jax / it": ours / s if ours and name != "gconv_jax" else None,
            "memory / it": memory["gconv_jax"] / memory[name]
            if {"gconv_jax", name} <= memory.keys() and name != "gconv_jax"
            else None,
        }
        for name, s in seconds.items()
    ]
    if ours and peers:
        best = {
            "contender": "best peer",
            "ms": 1e3 * min(peers),
            "gconv_jax / it": ours / min(peers),
        }
        lines.append({"model": row["model"], "step": row["mode"]} | best)
    return lines


def main() -> None:
    parser = harness.options(__doc__, rounds=9)
    parser.add_argument("--models", type=harness.comma(), default=",".join(CONTENDERS))
    parser.add_argument("--batch", type=int, help=f"images in a step, by default {BATCH}")
    parser.add_argument(
        "--escnn-python",
        default=os.environ.get("ESCNN_PYTHON", sys.executable),
        help="an interpreter with escnn, and with PyTorch if this one has none; by default "
        "$ESCNN_PYTHON, or this one",
    )
    args = parser.parse_args()
    print(harness.header())
    lines, rows, notes, packages = [], [], {}, {}
    for model in args.models:
        batch = args.batch or (4 if args.quick else BATCH[model])
        size = {"blocks": 1} if args.quick and model == "p4m_resnet" else {}
        new, new_notes, packages[model] = compare(
            model, batch, 2 if args.quick else args.rounds, args.escnn_python, size
        )
        rows += new
        lines += [line for row in new for line in columns(row)]
        notes |= new_notes
    print(harness.table(lines))
    harness.describe(notes)
    harness.write_json(args, "train_step", rows=rows, notes=notes, contender_versions=packages)


if __name__ == "__main__":
    main()
