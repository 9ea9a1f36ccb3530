"""The table of times on the page on which network to take: images in a second of one core.

Run it in a clone: ``python -m benchmarks.which_network`` takes some minutes. Times are those of
compiled steps on random images that are in memory, without reading and reports. They are times of
the processor, which other work on the machine changes little.
"""

import dataclasses
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from train.config import Config
from train.recipes.presets import PRESETS
from train.steps.augment import Prepare
from train.steps.build_model import build_model, parameter_count
from train.steps.optimizer import make_optimizer
from train.steps.step import Batch, Steps

BATCH, CLASSES, EPOCHS, IMAGES = 32, 5, 30, 1000
SECONDS = 4.0
"""The least time that is measured."""
GRAY, COLOR, VOLUME = (28, 28, 1), (64, 64, 3), (28, 28, 28, 1)


class Row(NamedTuple):
    """A network as it is typed, a recipe with some options changed, and its images."""

    typed: str
    shape: tuple[int, ...]
    recipe: str
    group: str | None = None
    """A group in place of that of the recipe."""


ROWS = (
    Row("--model p4cnn", GRAY, "digits-p4cnn"),
    Row("folder-plain", GRAY, "folder-plain"),
    Row("folder", GRAY, "folder"),
    Row("folder --group d8", GRAY, "folder", "d8"),
    Row("folder-d8", GRAY, "folder-d8"),
    Row("folder-plain", COLOR, "folder-plain"),
    Row("folder", COLOR, "folder"),
    Row("folder --group c8", COLOR, "folder", "c8"),
    Row("folder-convnext", COLOR, "folder-convnext"),
    Row("folder-vit", COLOR, "folder-vit"),
    Row("folder-voxels-plain", VOLUME, "folder-voxels-plain"),
    Row("folder-voxels", VOLUME, "folder-voxels"),
)


def pace(function, state) -> float:
    """Return the images in a second of one core of a step from state to state, once it is
    compiled."""
    state = jax.block_until_ready(function(state))
    start, steps = time.process_time(), 0
    while steps < 3 or time.process_time() - start < SECONDS:
        state = jax.block_until_ready(function(state))
        steps += 1
    return BATCH * steps / (time.process_time() - start)


def measure(row: Row) -> tuple[int, float, float]:
    """Return the parameters of a network, and its paces in training and prediction."""
    config: Config = PRESETS[row.recipe][1]
    config = dataclasses.replace(config, group=row.group or config.group)
    given = {"in_features": row.shape[-1], "image_shape": row.shape}
    model = build_model(config, classes=CLASSES, **given)
    steps = Steps(model, make_optimizer(config, 30), Prepare(0.5, 0.25))
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (BATCH, *row.shape), dtype=np.uint8)
    batch = Batch(jnp.asarray(image), jnp.arange(BATCH) % CLASSES)
    key, state = jax.random.key(0), steps.init()
    train = jax.jit(steps.train)
    logits = jax.jit(steps.logits)
    params, stats = state.params, state.stats
    trained = pace(lambda state: train(state, batch, key)[0], state)
    predicted = pace(lambda _: logits(params, stats, batch.image), None)
    return parameter_count(params), trained, predicted


def main() -> None:
    once = f"{IMAGES:,} images, {EPOCHS} epochs"
    print(f"| network | images | parameters | training | {once} | prediction |")
    print("|---|---|---|---|---|---|")
    for row in ROWS:
        parameters, trained, predicted = measure(row)
        minutes = IMAGES * EPOCHS / trained / 60
        sides = " x ".join(map(str, row.shape[:-1]))
        print(
            f"| `{row.typed}` | {sides} | {parameters:,} | {trained:,.0f} | {minutes:.0f} min | "
            f"{predicted:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
