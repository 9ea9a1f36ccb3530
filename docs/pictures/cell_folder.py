"""A folder of photographs as a person has it, made of blood cells, for `own_images.py` beside it.

Its 300 images are in several sizes and formats, some lie on their side or are partly transparent,
one file is damaged, and the leftovers of systems are between them. None of it is committed: the
cells come from an ``.npz`` file in the layout of MedMNIST.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SAVE: dict[str, dict] = {
    "jpg": {"quality": 92},
    "JPG": {"quality": 88},
    "jpeg": {"quality": 95},
    "png": {},
    "tif": {"compression": "tiff_lzw"},
    "bmp": {},
    "webp": {"quality": 92},
}
SHARES = (0.45, 0.1, 0.05, 0.22, 0.1, 0.03, 0.05)
"""The shares of the formats, in their order."""
SIDES = (56, 64, 72, 80, 96, 120, 160)
"""The pixels of the shorter side."""
ORIENTATION = 0x0112
"""The tag of EXIF that says how a camera was held."""


def make_folder(folder: Path, npz: Path, classes: list[str], count: int, seed: int = 0) -> None:
    """Write ``count`` images, as many of each class, below a folder that is not there yet.

    Args:
        folder: where they go.
        npz: ``train_images`` ``[n, H, W, 3]`` (uint8), ``train_labels`` and ``class_names``.
        classes: the names of those that are taken.
        count: the number of images that can be read.
        seed: of the choice of images, sizes and formats.
    """
    rng = np.random.default_rng(seed)
    with np.load(npz) as arrays:
        images, labels = arrays["train_images"], arrays["train_labels"].ravel()
        names = [str(name) for name in arrays["class_names"]]
    for name in classes:
        found = np.flatnonzero(labels == names.index(name))
        target = folder / name
        target.mkdir(parents=True)
        for number, index in enumerate(rng.permutation(found)[: count // len(classes)]):
            _save(_photograph(images[index], rng), target, number, rng)
    _add_leftovers(folder, classes)


def make_new_images(folder: Path, npz: Path, classes: list[str], each: int, seed: int = 1) -> None:
    """Write images without a class into one folder: of the test split, which `make_folder` leaves
    alone. Their names say the class, so that the table of predictions can be judged."""
    rng = np.random.default_rng(seed)
    with np.load(npz) as arrays:
        images, labels = arrays["test_images"], arrays["test_labels"].ravel()
        names = [str(name) for name in arrays["class_names"]]
    folder.mkdir(parents=True)
    for name in classes:
        found = rng.permutation(np.flatnonzero(labels == names.index(name)))[:each]
        for number, index in enumerate(found):
            image = _photograph(images[index], rng)
            image.save(folder / f"{name}_{number:02}.jpg", quality=92)


def _photograph(pixels: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Return a cell, enlarged to one of `SIDES`, upright or wide or high."""
    short = int(rng.choice(SIDES))
    wide = int(short * rng.choice([1.0, 1.0, 1.0, 1.125, 1.25]))
    size = (wide, short) if rng.random() < 0.5 else (short, wide)
    # Reflected margins, so that the cell is not stretched where the picture is not square.
    ratio = wide / short
    more = round(len(pixels) * (ratio - 1) / 2)
    margins = ((0, 0), (more, more)) if size[0] > size[1] else ((more, more), (0, 0))
    padded = np.pad(pixels, (*margins, (0, 0)), mode="symmetric")
    return Image.fromarray(padded).resize(size, Image.Resampling.BICUBIC)


def _save(image: Image.Image, target: Path, number: int, rng: np.random.Generator) -> None:
    """Save an image in a format that is drawn, now and then with what makes reading harder."""
    suffix = str(rng.choice(list(SAVE), p=SHARES))
    options = dict(SAVE[suffix])
    style: Callable[[int], str] = (
        lambda n: f"{target.name}_{n:03}",
        lambda n: f"IMG_{2000 + 7 * n}",
        lambda n: f"slide {n // 10 + 1} cell {n % 10 + 1}",
    )[int(rng.integers(3))]
    if suffix == "png" and rng.random() < 0.2:  # cut out: the corners are transparent
        rows, columns = np.mgrid[-1 : 1 : image.height * 1j, -1 : 1 : image.width * 1j]
        alpha = np.where(np.hypot(rows, columns) < 1.1, 255, 0).astype(np.uint8)
        image.putalpha(Image.fromarray(alpha))
    if suffix in ("jpg", "JPG") and rng.random() < 0.3:  # the camera was held on its side
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        image, options["exif"] = image.transpose(Image.Transpose.ROTATE_90), exif
    image.save(target / f"{style(number)}.{suffix}", **options)


def _add_leftovers(folder: Path, classes: list[str]) -> None:
    """Add what is in such folders beside images: files of systems, notes, and a broken download."""
    first, second = folder / classes[0], folder / classes[1]
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (first / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (second / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (first / "notes.txt").write_text("stained on Monday\n", encoding="utf-8")
    whole = next(path for path in sorted(second.iterdir()) if path.suffix in (".jpg", ".JPG"))
    (second / "download (1).jpg").write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
