"""The network of a run as a file that runs without this program."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import tyro

from gconv_jax.export import onnx, stablehlo
from train.predict import load_network
from train.rundir import Run


@dataclass(frozen=True)
class Export:
    """Write the network of a run to a file: stored pixels, uint8 [N, H, W, C], to the probabilities
    of the classes, for batches of any size. Of a run that is not finished, its newest
    checkpoint."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    format: Literal["stablehlo", "onnx"] = "stablehlo"
    """stablehlo: for jax.export, on CPU, GPU and TPU; onnx: for onnxruntime and other programs."""
    out: Path | None = None
    """The file (default: model.stablehlo or model.onnx in the run folder)."""
    raw_dir: Path | None = None
    """Where the original files of the data set are, if not where they were in training; for a run
    that is not finished."""
    data: Path | None = None
    """The same of a folder of your own images."""


def export(options: Export, say: Callable[[str], None] = print) -> Path:
    """Write the file and say where it is."""
    run = Run.open(options.run)
    network = load_network(run, say, raw_dir=options.raw_dir, data=options.data)

    def probabilities(image: jax.Array) -> jax.Array:
        if network.whitening is not None:
            image = network.whitening.whiten(image)
        logits = network.steps.logits(network.params, network.stats, image)
        return jax.nn.softmax(logits.astype(jnp.float32))

    path = options.out or run.path / f"model.{options.format}"
    write = {"stablehlo": stablehlo, "onnx": onnx}[options.format]
    write(probabilities, (None, *network.shape), path, dtype=jnp.uint8)
    say(f"{path}: uint8 [N, {', '.join(map(str, network.shape))}] to probabilities; run it with")
    if options.format == "stablehlo":
        say(f"  jax.export.deserialize(pathlib.Path({str(path)!r}).read_bytes()).call(images)")
    else:
        say(f'  onnxruntime.InferenceSession({str(path)!r}).run(None, {{"x": images}})[0]')
    if network.names is not None:
        say(f"  the classes are {', '.join(network.names)}")
    return path
