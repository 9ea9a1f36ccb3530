"""Helpers that tests of whole runs share."""

import csv
import json
import socket
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from jax import export as jax_export
from PIL import Image, ImageDraw

from train.__main__ import main
from train.config import Config
from train.data.splits import Data
from train.data.whitening import WHITENING, Whitening
from train.run.predictor import load_predictor
from train.run.session import prepare_session
from train.run.trainer import Trainer
from train.run_folder.checkpoint import load_tree, save_tree
from train.run_folder.folder import Run
from train.steps.augment import Prepare
from train.steps.parallel import Parallel
from train.steps.step import Steps


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def read_list(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file by column."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def exported_answers(
    run: Run, files: list[Path], out: Path, capsys
) -> tuple[np.ndarray, dict, str]:
    """Return the answers of the exported network to gray images of its size, the facts that are
    written beside it, and the last line of the program that the command prints."""
    assert main(["export", str(run.path), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    pixels = np.stack([np.asarray(Image.open(path))[..., None] for path in files])
    answers = jax_export.deserialize(bytearray(out.read_bytes())).call(pixels)
    about = json.loads(out.with_name(f"{out.name}.json").read_text())
    (last,) = [line.strip() for line in printed.splitlines() if line.startswith("  print(")]
    return np.asarray(answers), about, last.removeprefix("print")


def final_arrays(run: Run):
    state = prepare_session(run.config, run=run).steps.init()
    params, stats = load_tree(run.path / "model", (state.params, state.stats))
    return [np.asarray(leaf) for leaf in jax.tree.leaves((params, stats))]


def assert_same_bits(a: Run, b: Run) -> None:
    pairs = list(zip(final_arrays(a), final_arrays(b), strict=True))
    assert pairs
    for x, y in pairs:
        assert x.dtype == y.dtype and x.shape == y.shape
        np.testing.assert_array_equal(x, y)


class Flat(nnx.Module):
    """A network of one linear map from all pixels of an image to the classes, after a batch
    normalization if asked for."""

    def __init__(self, pixels: int, classes: int, *, normalized: bool, rngs: nnx.Rngs):
        self.linear = nnx.Linear(pixels, classes, rngs=rngs)
        self.norm = nnx.BatchNorm(pixels, rngs=rngs) if normalized else None

    def __call__(self, inputs: jax.Array) -> jax.Array:
        inputs = inputs.reshape(len(inputs), -1)
        return self.linear(inputs if self.norm is None else self.norm(inputs))


def linear_trainer(
    data: Data,
    parallel: Parallel | None = None,
    *,
    batch_size: int,
    seeds: tuple[int, ...] = (0,),
    steps: dict | None = None,
    normalized: bool = False,
    **more,
) -> tuple[Trainer, Steps]:
    """A trainer of a `Flat` network, and its steps; ``steps`` are options of those, and ``more``
    are of the trainer."""
    parallel = parallel or Parallel("jit")
    pixels = int(np.prod(data.train.image.shape[1:]))
    model = Flat(pixels, data.classes, normalized=normalized, rngs=nnx.Rngs(0))
    prepare = Prepare(data.mean, data.std)
    made = Steps(model, optax.sgd(0.1), prepare, parallel.axis_name, **(steps or {}))
    options = {"batch_size": batch_size, "seeds": seeds, "parallel": parallel}
    return Trainer(made, data.train, **options, **more), made


def draw_shapes(folder: Path, count: int) -> Path:
    """Draw so many rings and stars, each in the folder of its class."""
    rng = np.random.default_rng(0)
    for label in ("ring", "star"):
        (folder / label).mkdir(parents=True)
        for i in range(count):
            width, height = (int(n) for n in rng.integers(30, 60, 2))
            image = Image.new("RGB", (width, height), "darkgreen")
            draw, box = ImageDraw.Draw(image), (8, 8, width - 8, height - 8)
            ink = tuple(int(v) for v in rng.integers(150, 256, 3))
            if label == "ring":
                draw.ellipse(box, outline=ink, width=3)
            else:
                draw.line(box, fill=ink, width=3)
                draw.line((8, height - 8, width - 8, 8), fill=ink, width=3)
            image.save(folder / label / f"{i}.{('png', 'jpg', 'webp')[i % 3]}")
    return folder


def untrained_run(
    config: Config,
    path: Path,
    shape: tuple[int, ...],
    names: list[str] | None,
    more: dict | None = None,
) -> Run:
    """A finished run with random parameters, on images of a shape, with what else its results say
    of them."""
    run = Run.create(config, path)
    form = {"shape": shape, "mean": 0.0, "std": 1.0, "classes": len(names or range(10))}
    if config.preprocess == "whiten":
        rng, size = np.random.default_rng(1), int(np.prod(shape))
        matrix = np.eye(size) + rng.normal(size=(size, size)) / size
        mean = rng.normal(size=size) / 10
        Whitening(*(a.astype(np.float32) for a in (mean, matrix))).save(run.path / WHITENING)
    else:
        form |= {"mean": 0.4, "std": 0.3}
    run.write_json("results.json", {"input": form | {"names": names} | (more or {})})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.run.predictor.load_tree", lambda path, template: template)
        fresh = load_predictor(run)
    save_tree(run.path / "model", (fresh.params, fresh.stats))
    return run
