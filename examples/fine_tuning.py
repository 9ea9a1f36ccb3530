"""Fine-tuning on few images beside training from nothing: the table of docs/how-to/fine-tuning.md.

    python -m examples.fine_tuning FILE.npz --init blood-p4m --images 20 --epochs 60

FILE.npz has train_images, train_labels, test_images and test_labels, as MedMNIST has them. For each
seed so many images of each class are drawn. The ready network, and the same network with random
weights, are trained on them for a fixed number of epochs, and measured on all test images once, at
the end. Nothing is chosen by them.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from train.loop import train
from train.recipes.typed_options import configure

KINDS = ("fine-tuned", "from nothing")


def draw(source: Path, images: int, size: int, seed: int, target: Path) -> None:
    """Write so many images of each class, and all test images, to another file."""
    with np.load(source) as found:
        arrays = {name: found[name] for name in found if name.split("_")[0] in ("train", "test")}
    labels = arrays["train_labels"].ravel()
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.flatnonzero(labels == c))[:images] for c in np.unique(labels)]
    rows = np.concatenate(rows)
    np.savez(
        target,
        train_images=resized(arrays["train_images"][rows], size),
        train_labels=labels[rows],
        test_images=resized(arrays["test_images"], size),
        test_labels=arrays["test_labels"].ravel(),
    )


def resized(images: np.ndarray, size: int) -> np.ndarray:
    """Return gray or color images with so many pixels on a side."""
    return np.stack([np.asarray(Image.fromarray(image).resize((size, size))) for image in images])


def main(
    data: Path,
    *,
    init: str = "blood-p4m",
    images: int = 20,
    size: int = 28,
    seeds: Sequence[int] = (0, 1, 2),
    kinds: Sequence[str] = KINDS,
    options: Sequence[str] = (),
    channels: str = "colour",
) -> dict[str, list[float]]:
    """Train the networks, and return the test error of each kind and seed."""
    errors: dict[str, list[float]] = {kind: [] for kind in kinds}
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            few = Path(folder) / "few.npz"
            draw(data, images, size, seed, few)
            for kind in kinds:
                words = ["--data", str(few), "--channels", channels, "--validation", "0"]
                words += ["--init", init] if kind == KINDS[0] else []
                words += ["--seed", str(seed), "--report", "none", *options]
                run = train(configure("folder", words), Path(folder) / kind)
                errors[kind].append((run.results or {})["test_error"])
                print(f"{kind}, seed {seed}: test error {100 * errors[kind][-1]:.2f} %")
    return errors


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--init", default="blood-p4m")
    parser.add_argument("--images", type=int, default=20, help="training images of each class")
    parser.add_argument("--size", type=int, default=28, help="pixels on a side")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--out", type=Path, help="a JSON file for the errors")
    given, rest = parser.parse_known_args()
    values = {name: value for name, value in vars(given).items() if name != "out"}
    found = main(values.pop("data"), **values, options=rest)
    if given.out is not None:
        given.out.write_text(json.dumps(found))
