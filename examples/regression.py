"""Numbers for the training program: how large is a digit, and how bright?

Digits inside scikit-learn are enlarged to a side of 12 to 24 pixels, turned by any angle and put on
noise. The list has two numbers of each image: ``side`` in pixels, and ``ink``, the brightness of
the stroke above the ground. Neither changes when an image is turned.

    python examples/regression.py digit-numbers
    python -m train --data digit-numbers/list.csv --task regression --targets side ink --size 32 \\
        --model p4cnn --compare-plain
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

SIDE = 32
SIDES = (12, 24)
INKS = (60, 200)
COLUMNS = ("side", "ink")


def drawn(
    pixels: np.ndarray, side: int, ink: float, degrees: float, noise: np.ndarray
) -> np.ndarray:
    """Return an image ``[32, 32]`` of a digit in its middle, turned counter-clockwise."""
    small = Image.fromarray((pixels * 255 / 16).astype(np.uint8))
    canvas = Image.new("L", (SIDE, SIDE))
    corner = (SIDE - side) // 2
    canvas.paste(small.resize((side, side), Image.Resampling.BICUBIC), (corner, corner))
    turned = canvas.rotate(degrees, Image.Resampling.BICUBIC)
    image = ink / 255 * np.asarray(turned, np.float64) + 40 + noise
    return image.clip(0, 255).astype(np.uint8)


def write(folder: Path, images: int, seed: int = 0) -> None:
    """Write images and their list; those of the test are other digits, a quarter of all."""
    rng, digits = np.random.default_rng(seed), load_digits()
    order = rng.permutation(len(digits.target))[:images]
    folder.mkdir(parents=True)
    with (folder / "list.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "split", *COLUMNS))
        for i, place in enumerate(order):
            split = "test" if i < len(order) // 4 else "train"
            side, ink = int(rng.integers(SIDES[0], SIDES[1] + 1)), round(rng.uniform(*INKS), 1)
            noise = rng.normal(0, 12, (SIDE, SIDE))
            image = drawn(digits.images[place], side, ink, rng.uniform(0, 360), noise)
            Image.fromarray(image).save(folder / f"{i}.png")
            table.writerow((f"{i}.png", split, side, ink))


def main(folder: Path, images: int = 1600) -> None:
    """Write the folder and say how it is trained on."""
    if folder.exists():
        raise SystemExit(f"{folder} is there already: name another folder")
    write(folder, images)
    print(f"{images} images are listed in {folder / 'list.csv'}; train with")
    print(f"  python -m train --data {folder / 'list.csv'} --task regression \\")
    print(f"      --targets {' '.join(COLUMNS)} --size {SIDE} --model p4cnn --compare-plain")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1600)
    main(**vars(parser.parse_args()))
