"""A user's own images as arrays, and which of them a run was trained and tested on."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from train.config import Config
from train.folders import SPLITS, File, counted, list_images, printable, some
from train.images import Shape, is_grey, read_image, read_images
from train.memory import available_memory
from train.pixels import pixel_sums
from train.rundir import Run
from train.stored import Stored

IMAGE_SIZE = 64
IMAGES = "images.jsonl"  # in a run folder


class Images(NamedTuple):
    """uint8 ``[N, H, W, C]``, in memory or on disk, and int32 ``[N]``."""

    image: np.ndarray | Stored
    label: np.ndarray


class ImageFiles:
    """Reads image files as pixels of one size, for `Stored`."""

    def __init__(self, paths: Sequence[Path], size: Shape, *, grey: bool = False):
        self.paths, self.size, self.grey = tuple(map(str, paths)), size, grey

    def __call__(self, places: np.ndarray) -> np.ndarray:
        images = [read_image(Path(self.paths[i]), self.size, ink="light") for i in places]
        pixels = np.stack(images) if images else np.empty((0, *self.size), np.uint8)
        return pixels[..., :1] if self.grey else pixels


@dataclass(frozen=True)
class Folder:
    """The images of a folder, read. ``validation`` is None if there is no folder of that name."""

    path: Path
    train: Images
    validation: Images | None
    test: Images
    names: tuple[str, ...]
    """Of the classes, sorted; a label is a place in it."""
    files: tuple[File, ...]
    """All that were found, also those that cannot be read."""
    own_test: bool
    """Whether there is a folder of test images."""
    notes: tuple[str, ...]
    """Lines for the user: what was left out."""

    @property
    def fingerprint(self) -> str:
        """Of the names, sizes and splits of the files."""
        return hashlib.sha256(_lines(self.files).encode()).hexdigest()[:12]


def load_folder(config: Config) -> Folder:
    """The images in ``config.data``, scaled to ``config.image_size``, their training and test
    images in an order in which any first or last part has all classes in proportion.

    Files that cannot be read are named in the notes and left out.

    Raises:
        ValueError: no such folder, fewer than two classes, a class without images, a class to test
            on that is not trained on, or more images than fit in memory.
    """
    if config.data is None:
        raise ValueError("`dataset` folder needs the folder of your images: add --data DIR")
    path = Path(config.data).expanduser()
    found = list_images(path, config.test_fraction)
    size = IMAGE_SIZE if config.image_size is None else config.image_size
    channels = 1 if config.channels == "grey" else 3
    stored = config.loader == "grain"
    if not stored:
        _require_memory(len(found.files), size, channels)
    parts, unreadable = {}, []
    bar = tqdm(total=len(found.files), unit="image", desc="reading", disable=None, leave=False)
    with bar:
        for split in dict.fromkeys(SPLITS.values()):
            files = [file for file in found.files if file.split == split]
            if files:
                shape = (size, size, channels)
                parts[split] = _read(path, files, shape, bar, unreadable, stored=stored)
    grey = config.channels == "auto" and all(part.grey for part in parts.values())
    images = {
        split: Images(_grey(part.image) if grey else part.image, part.label)
        for split, part in parts.items()
    }
    notes, reasons = list(found.notes), [f"{name} ({reason})" for name, reason in unreadable]
    skipped = f"skipped {counted(len(unreadable), 'file')} that cannot be read: {some(reasons)}"
    if unreadable:
        notes.append(skipped)
    seen = set(parts["train"].hashes)
    repeated = sum(of_image in seen for of_image in parts["test"].hashes)
    if repeated:
        notes.append(
            f"{repeated:,} of the {len(images['test'].label):,} test images are equal to a "
            "training image, pixel for pixel: the test error is too low"
        )
    for split, part in images.items():
        counts = np.bincount(part.label, minlength=len(found.names))
        listed = {file.label for file in found.files if file.split == split}
        lost = [found.names[i] for i in sorted(listed) if not counts[i]]
        if lost:
            raise ValueError(f"no {split} image of {some(lost)} in {path} can be read; {skipped}")
    return Folder(
        path=path,
        train=images["train"],
        validation=images.get("validation"),
        test=images["test"],
        names=found.names,
        files=tuple(found.files),
        own_test=found.own_test,
        notes=tuple(notes),
    )


def changes(run: Run, folder: Folder) -> str | None:
    """How the files differ from those that the run began with; None if they do not."""
    kept = run.path / IMAGES
    if not kept.is_file():
        return None
    rows = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    before = {row["file"]: (row["split"], row["bytes"]) for row in rows}
    now = {file.name: (file.split, file.size) for file in folder.files}
    parts = {
        "new": sorted(now.keys() - before.keys()),
        "gone": sorted(before.keys() - now.keys()),
        "changed": sorted(n for n in now.keys() & before.keys() if now[n] != before[n]),
    }
    if not any(parts.values()):
        return None
    listed = [f"{len(of)} {what} ({some(of, 3)})" for what, of in parts.items() if of]
    return f"the images in {folder.path} are not those that {run.path} began with: " + (
        "; ".join(listed)
    )


def require_same_files(run: Run, folder: Folder | None) -> None:
    """ValueError if the run began with other files."""
    changed = None if folder is None else changes(run, folder)
    if changed:
        raise ValueError(
            f"{changed}. Images of the test may have been trained on: restore the files, or begin "
            "another run"
        )


def keep_files(run: Run, folder: Folder) -> None:
    """Write the list of files into the run folder, as `require_same_files` allows."""
    require_same_files(run, folder)
    run.write(IMAGES, _lines(folder.files))


class _Part(NamedTuple):
    """What was read of a split."""

    image: np.ndarray | Stored
    label: np.ndarray
    hashes: list[int]
    """Of the pixels of each image."""
    grey: bool
    """Whether all are."""


def _read(
    path: Path,
    files: Sequence[File],
    size: Shape,
    bar: tqdm,
    unreadable: list,
    *,
    stored: bool,
) -> _Part:
    """The images that can be read; the others are added to ``unreadable``. Of ``stored`` ones the
    pixels are read again when they are asked for."""
    images = np.empty((0 if stored else len(files), *size), np.uint8)
    readable, labels, sums, hashes, grey = [], [], [], [], True
    paths = [path / file.name for file in files]
    for file, image in zip(files, read_images(paths, size, ink="light"), strict=True):
        bar.update()
        if isinstance(image, ValueError):
            reason = str(image).removeprefix(f"cannot read {path / file.name} as an image: ")
            unreadable.append((printable(file.name), reason))
            continue
        if stored:
            sums.append(pixel_sums(image[None])[0])
        else:
            images[len(readable)] = image
        readable.append(path / file.name)
        labels.append(file.label)
        hashes.append(hash(image.tobytes()))
        grey = grey and is_grey(image)
    label = np.asarray(labels, np.int32)
    if not stored:
        return _Part(images[: len(readable)], label, hashes, grey)
    places = np.arange(len(readable))
    reader = ImageFiles(readable, size)
    kept = Stored(reader, places, size, images.dtype, np.asarray(sums).reshape(-1, 3))
    return _Part(kept, label, hashes, grey)


def _grey(image: np.ndarray | Stored) -> np.ndarray | Stored:
    """One of three equal channels."""
    if not isinstance(image, Stored):
        return image[..., :1].copy()
    files: ImageFiles = image.read  # pyright: ignore[reportAssignmentType]
    reader = ImageFiles(files.paths, files.size, grey=True)  # pyright: ignore[reportArgumentType]
    return Stored(reader, image.places, (*image.item[:2], 1), image.dtype, image.sums / 3)


def _require_memory(count: int, size: int, channels: int) -> None:
    # A second copy on the device, or while grey images are taken out of colour.
    needed, available = 2 * count * size * size * channels, available_memory()
    if available is not None and needed > available:
        raise ValueError(
            f"{count:,} images of {size} x {size} pixels need {needed / 2**30:.1f} GiB of memory, "
            f"and {available / 2**30:.1f} are available; choose a smaller --image-size, now "
            f"{size}, or leave them on the disk with --loader grain"
        )


def _lines(files: Sequence[File]) -> str:
    rows = ({"split": f.split, "file": f.name, "bytes": f.size} for f in files)
    return "".join(json.dumps(row) + "\n" for row in rows)
