"""Several labels per image for the training program: which digits lie on a plate?

Digits inside scikit-learn are enlarged, turned by any angle and put into the quarters of an image,
at most three of them, on noise. The list says which ones: ``2;7``, or nothing. Of 6 and 9, which
are each other's upside down, there is neither.

    python examples/several_labels.py plates
    python -m train --data plates/list.csv --size 48 --model p4cnn --compare-plain
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

SIDE = 48
QUARTERS = ((0, 0), (24, 0), (0, 24), (24, 24))
DIGITS = (0, 1, 2, 3, 4, 5, 7, 8)
MOST = 3


def plate(chosen: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Return an image ``[48, 48]`` of digits in quarters drawn at random."""
    light = Image.new("L", (SIDE, SIDE))
    places = rng.permutation(len(QUARTERS))
    for pixels, place in zip(chosen, places, strict=False):
        small = Image.fromarray((pixels * 255 / 16).astype(np.uint8))
        quarter = Image.new("L", (24, 24))
        quarter.paste(small.resize((17, 17), Image.Resampling.BICUBIC), (4, 4))
        turned = quarter.rotate(rng.uniform(0, 360), Image.Resampling.BICUBIC)
        light.paste(turned, QUARTERS[place])
    image = 0.7 * np.asarray(light, np.float64) + 40 + rng.normal(0, 12, (SIDE, SIDE))
    return image.clip(0, 255).astype(np.uint8)


def write(folder: Path, images: int, seed: int = 0) -> None:
    """Write images and their list. A quarter are for the test, of digits that no other image
    has."""
    rng, digits = np.random.default_rng(seed), load_digits()
    order = rng.permutation(np.flatnonzero(np.isin(digits.target, DIGITS)))
    tested = len(order) // 4
    folder.mkdir(parents=True)
    with (folder / "list.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "split", "label"))
        for i in range(images):
            split = "test" if i < images // 4 else "train"
            pool = order[:tested] if split == "test" else order[tested:]
            places = rng.choice(pool, rng.integers(MOST + 1), replace=False)
            image = plate([digits.images[place] for place in places], rng)
            Image.fromarray(image).save(folder / f"{i}.png")
            names = sorted({str(digits.target[place]) for place in places})
            table.writerow((f"{i}.png", split, ";".join(names)))


def main(folder: Path, images: int = 2000) -> None:
    """Write the folder and say how it is trained on."""
    if folder.exists():
        raise SystemExit(f"{folder} is there already: name another folder")
    write(folder, images)
    print(f"{images} images are listed in {folder / 'list.csv'}; train with")
    command = f"python -m train --data {folder / 'list.csv'} --size {SIDE}"
    print(f"  {command} --model p4cnn --compare-plain")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    main(**vars(parser.parse_args()))
