"""Masks for the training program: digits without an upright, a class for each pixel.

The digits inside scikit-learn are enlarged, turned by any angle and put on noise. A pixel of a
stroke has the class of its digit, and all others are ground: eleven classes. The images and masks
are written to a folder as ``python -m train --task segmentation`` takes them. A digit is told by
its whole shape, so that a network has to look further than at the pixel.

    python examples/digit_masks.py digit-masks
    python -m train --data digit-masks --task segmentation --size 32
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

SIDE = 32
LEVEL = 110
"""The brightness from which on a pixel belongs to a stroke."""


def drawn(pixels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of a digit ``[32, 32]``, and which of its pixels are of the stroke."""
    small = Image.fromarray((pixels * 255 / 16).astype(np.uint8))
    canvas = Image.new("L", (SIDE, SIDE))
    canvas.paste(small.resize((20, 20), Image.Resampling.BICUBIC), (6, 6))
    turned = canvas.rotate(
        rng.uniform(0, 360), Image.Resampling.BICUBIC, translate=tuple(rng.integers(-3, 4, 2))
    )
    light = np.asarray(turned, np.float64)
    image = 0.7 * light + 40 + rng.normal(0, 12, light.shape)
    return image.clip(0, 255).astype(np.uint8), light > LEVEL


def write(folder: Path, images: int, seed: int = 0) -> None:
    """Write images and masks to train/ and test/, those of the test from other digits, a quarter
    of all."""
    rng = np.random.default_rng(seed)
    digits = load_digits()
    order = rng.permutation(len(digits.target))[:images]
    for i, place in enumerate(order):
        image, stroke = drawn(digits.images[place], rng)
        split = folder / ("test" if i < len(order) // 4 else "train")
        mask = np.where(stroke, digits.target[place] + 1, 0).astype(np.uint8)
        for name, pixels in (("images", image), ("masks", mask)):
            (split / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(split / name / f"{i}.png")
    names = ["ground", *(str(digit) for digit in range(10))]
    (folder / "classes.txt").write_text("\n".join(names) + "\n", encoding="utf-8")


def main(folder: Path, images: int = 1600) -> None:
    """Write the folder and say how it is trained on."""
    if folder.exists():
        raise SystemExit(f"{folder} is there already: name another folder")
    write(folder, images)
    print(f"{images} images with masks are in {folder}; train with")
    print(f"  python -m train --data {folder} --task segmentation --size {SIDE}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1600)
    main(**vars(parser.parse_args()))
