"""Vectors for the training program: which way is up in a digit, and where it is.

The digits 2, 3, 4, 5 and 7 inside scikit-learn are enlarged and put somewhere on noise. A list has
two vectors of each image: `up_x up_y` points to the top of the digit and has the length 1, and
`dx dy` is the way from the center of the image to that of the digit in pixels, x to the right and y
down. Digits to train on lean by at most 45 degrees, and those to test on by any angle. A network
over the rotations by 90 degrees knows the others, whereas a plain one has never seen them.

    python examples/vectors.py digit-vectors
    python -m train --data digit-vectors/list.csv --task regression \\
        --vectors up_x up_y dx dy --size 32 --model p4cnn --compare-plain
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

SIDE = 32
DIGITS = (2, 3, 4, 5, 7)  # 0, 1 and 8 look the same upside down, and a 6 is a 9
COLUMNS = ("path", "split", "up_x", "up_y", "dx", "dy")
FAR = 4


def drawn(
    pixels: np.ndarray, degrees: float, dx: float, dy: float, noise: np.ndarray
) -> np.ndarray:
    """Return an image of a digit ``[32, 32]``, turned counter-clockwise and moved."""
    small = Image.fromarray((pixels * 255 / 16).astype(np.uint8))
    canvas = Image.new("L", (SIDE, SIDE))
    canvas.paste(small.resize((18, 18), Image.Resampling.BICUBIC), (7, 7))
    turned = canvas.rotate(degrees, Image.Resampling.BICUBIC, translate=(dx, dy))
    image = 0.7 * np.asarray(turned, np.float64) + 40 + noise
    return image.clip(0, 255).astype(np.uint8)


def write(folder: Path, images: int, seed: int = 0) -> None:
    """Write images and their list; those of the test are other digits, a quarter of all."""
    rng, digits = np.random.default_rng(seed), load_digits()
    order = rng.permutation(np.flatnonzero(np.isin(digits.target, DIGITS)))[:images]
    folder.mkdir(parents=True)
    with (folder / "list.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for i, place in enumerate(order):
            split = "test" if i < len(order) // 4 else "train"
            largest = 180 if split == "test" else 45
            degrees, (dx, dy) = rng.uniform(-largest, largest), rng.integers(-FAR, FAR + 1, 2)
            noise = rng.normal(0, 12, (SIDE, SIDE))
            image = drawn(digits.images[place], degrees, int(dx), int(dy), noise)
            Image.fromarray(image).save(folder / f"{i}.png")
            up = -np.sin(np.deg2rad(degrees)), -np.cos(np.deg2rad(degrees))
            table.writerow((f"{i}.png", split, *up, dx, dy))


def main(folder: Path, images: int = 900) -> None:
    """Write the folder and say how it is trained on."""
    if folder.exists():
        raise SystemExit(f"{folder} is there already: name another folder")
    write(folder, images)
    print(f"{images} images are listed in {folder / 'list.csv'}; train with")
    print(f"  python -m train --data {folder / 'list.csv'} --task regression \\")
    print(f"      --vectors {' '.join(COLUMNS[2:])} --size {SIDE} --model p4cnn --compare-plain")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=900)
    main(**vars(parser.parse_args()))
