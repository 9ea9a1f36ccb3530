"""Images with masks, drawn for tests: a disc among noise, and a bar that is of another class."""

from pathlib import Path

import numpy as np
from PIL import Image


def scenes(count: int, seed: int = 0, *, side: int = 16, classes: int = 2, rank: int = 2):
    """Return gray images or volumes and their masks of class indices, both uint8 ``[count, side,
    ...]``: a ball, and with three classes a bar, which lies upright."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*[np.arange(side)] * rank, indexing="ij"), -1)
    masks = np.zeros((count, *[side] * rank), np.uint8)
    for mask in masks:
        center, radius = rng.uniform(0.35, 0.65, rank) * side, rng.uniform(0.2, 0.3) * side
        if classes == 3:
            mask[..., : side // 8] = 2
        mask[np.linalg.norm(places - center, axis=-1) < radius] = 1
    light = np.array([40, 190, 110], np.uint8)[masks] + rng.normal(0, 12, masks.shape)
    return light.clip(0, 255).astype(np.uint8), masks


def draw_masks(
    folder: Path, count: int, seed: int = 0, *, values: tuple[int, ...] = (0, 255), **more
) -> Path:
    """Write such images and masks to ``images/`` and ``masks/`` in a folder, the masks in the
    values of their classes; three and more are indices with a palette."""
    images, masks = scenes(count, seed, classes=len(values), **more)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
        Image.fromarray(image).save(folder / "images" / f"{i}.png")
        stored = Image.fromarray(np.array(values, np.uint8)[mask])
        if len(values) > 2:
            stored.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
        stored.save(folder / "masks" / f"{i}.png")
    return folder
