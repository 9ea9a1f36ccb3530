"""Use a finished run: evaluate it again, or classify image files."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import optax
import tyro
from flax import nnx
from PIL import Image, ImageOps, UnidentifiedImageError

from train.augment import Prepare
from train.checkpoint import load_tree
from train.evaluate import final_figures
from train.models import build_model
from train.report import results_table
from train.rundir import Run
from train.session import Session, prepare_session
from train.step import Steps, TrainState
from train.whiten import WHITENING, Whitening


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a finished run again and print its figures."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    split: Literal["test", "validation"] = "test"
    """validation: the images that were held out, with --validation."""
    raw_dir: Path | None = None
    """Where the original files of the data set are, if not where they were in training."""


@dataclass(frozen=True)
class Predict:
    """Classify image files with a finished run."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Image files of any size and format that Pillow reads."""
    ink: Literal["auto", "light", "dark"] = "auto"
    """Whether the strokes are lighter or darker than the ground; auto looks at the border, and
    leaves the images of a network for colours as they are."""


def evaluate(options: Evaluate, say: Callable[[str], None] = print) -> dict:
    """Print and return the figures of a finished run."""
    run = Run.open(options.run)
    session, state = load_run(run, raw_dir=options.raw_dir)
    if options.split == "validation":
        if session.data.validation is None:
            raise ValueError(f"{run.path} held out no validation images (validation=0)")
        figures = session.feed.evaluate(state, session.data.validation)
        say(f"validation error {100 * figures['error']:.2f} %, loss {figures['loss']:.4f}")
        return figures
    figures = final_figures(session, state)
    say(results_table([run.results | figures]))
    return figures


def predict(options: Predict, say: Callable[[str], None] = print) -> np.ndarray:
    """Print the most probable classes of each image; returns probabilities ``[N, classes]``."""
    if not options.images:
        raise ValueError("`images` must name at least one image file")
    network = load_network(Run.open(options.run))
    images = [read_image(path, network.shape, options.ink) for path in options.images]
    logits = network(np.stack(images))
    probabilities = np.asarray(jax.nn.softmax(logits.astype(np.float32)))
    for path, p in zip(options.images, probabilities, strict=True):
        best = np.argsort(-p)[:3]
        say(f"{path}: " + ", ".join(f"{c} ({100 * p[c]:.1f} %)" for c in best))
    return probabilities


def load_run(run: Run, raw_dir: Path | None = None) -> tuple[Session, TrainState]:
    """The session and the final state of a finished run; ValueError if it is not finished."""
    run.require_finished()
    config = run.config
    if raw_dir is not None:
        config = dataclasses.replace(config, raw_dir=raw_dir)
    session = prepare_session(config)
    state = session.steps.init()
    params, stats = load_tree(run.path / "model", (state.params, state.stats))
    return session, dataclasses.replace(state, params=params, stats=stats, average=None)


@dataclass(frozen=True)
class Network:
    """A finished network by itself, without its data: stored pixels to logits."""

    steps: Steps
    params: nnx.State
    stats: nnx.State
    shape: tuple[int, int, int]
    whitening: Whitening | None = None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        if self.whitening is not None:
            image = self.whitening(image)
        return np.asarray(jax.jit(self.steps.logits)(self.params, self.stats, image))


def load_network(run: Run) -> Network:
    """The network of a finished run; ValueError if it is not finished."""
    run.require_finished()
    form = run.results["input"]
    shape = tuple(form["shape"])
    model = build_model(run.config, classes=form["classes"], in_features=shape[-1])
    steps = Steps(model, optax.identity(), Prepare(form["mean"], form["std"]))
    state = steps.init()
    params, stats = load_tree(run.path / "model", (state.params, state.stats))
    whitening = None
    if run.config.preprocess == "whiten":
        whitening = Whitening.load(run.path / WHITENING)
    return Network(steps, params, stats, shape, whitening)


def read_image(path: Path, size: tuple[int, int, int], ink: str = "auto") -> np.ndarray:
    """An image file as the network wants it: uint8 ``[H, W, C]``, grey ones with light strokes on
    dark ground.

    It is scaled to fit, without distortion, and centred on the ground. ValueError names a file
    that cannot be read.
    """
    height, width, channels = size
    try:
        with Image.open(path) as opened:
            image = _eight_bits(ImageOps.exif_transpose(opened), "L" if channels == 1 else "RGB")
    except FileNotFoundError:
        raise ValueError(f"no such image file: {path}") from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise ValueError(f"cannot read {path} as an image: {error}") from None
    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if ink == "dark" or (ink == "auto" and channels == 1 and border.mean() > 127):
        image, border = ImageOps.invert(image), 255 - border
    ground = np.rint(np.median(border.reshape(-1, channels), axis=0)).astype(int)
    colour = int(ground[0]) if channels == 1 else tuple(int(v) for v in ground)
    image = ImageOps.pad(image, (width, height), Image.Resampling.BILINEAR, color=colour)
    return np.asarray(image, np.uint8).reshape(height, width, channels)


def _eight_bits(image: Image.Image, mode: str) -> Image.Image:
    """The image with 8 bits for each channel, transparent parts filled with what contrasts."""
    if image.mode.startswith(("I", "F")):  # 16 and 32 bits, which `convert` would cut off at 255
        values = np.asarray(image, np.float64)
        full = 1.0 if image.mode == "F" and values.max() <= 1 else 255.0
        full = 65535.0 if values.max() > full else full
        return Image.fromarray(np.clip(255 * values / full, 0, 255).astype(np.uint8)).convert(mode)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        grey, alpha = (np.asarray(image.convert("LA"), np.float64)[..., i] for i in (0, 1))
        light = (grey * alpha).sum() > 127 * alpha.sum()
        ground = Image.new("RGBA", image.size, "black" if light else "white")
        image = Image.alpha_composite(ground, image)
    return image.convert(mode)
