"""The images of one split, as they are read, and the part of them that a run uses."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..progress import ImageBar
from .image_files import Shape, in_threads, is_gray, read_any, read_image
from .labels import label_array
from .listing import File, Listing
from .mask_classes import MaskClasses
from .mask_survey import labels_of_masks
from .numbers import number_array
from .on_disk import ImagesOnDisk
from .reading import EARLIER, Reading
from .sources import MaskSource, Source
from .statistics import pixel_sums


class ImageFiles:
    """Reads image files as pixels of one size, for `ImagesOnDisk`."""

    def __init__(
        self, paths: Sequence[Path], size: Shape, reading: Reading = EARLIER, *, gray: bool = False
    ):
        self.paths, self.size, self.reading = tuple(map(str, paths)), size, reading
        self.gray = gray

    def __call__(self, places: np.ndarray) -> np.ndarray:
        how = self.reading.arguments()
        images = [read_image(Path(self.paths[i]), self.size, **how) for i in places]
        pixels = np.stack(images) if images else np.empty((0, *self.size), np.uint8)
        return pixels[..., :1] if self.gray else pixels


class Part(NamedTuple):
    """The part of a split that was read, as it is in the folder or in the record."""

    image: np.ndarray | ImagesOnDisk
    label: np.ndarray
    files: list[File]
    hashes: list[int]
    """The digests of the pixels of each image."""
    gray: list[bool]
    """A flag for each image: whether it is gray."""
    unreadable: list[tuple[File, str]]
    """The files that cannot be read, and why."""
    flat: list[str]
    """The names of images all of whose pixels are equal."""


def read_part(
    source: Source,
    files: Sequence[File],
    found: Listing,
    size: tuple[int, ...],
    reading: Reading,
    bar: ImageBar,
    *,
    stored: bool,
    targets: tuple[str, ...] | None,
) -> Part:
    """Return the images that can be read. Of ``stored`` ones the pixels are read again when they
    are asked for."""
    images = np.empty((0 if stored else len(files), *size), np.uint8)
    part = Part(images, np.empty(0, np.int32), [], [], [], [], [])
    sums = []

    def pixels_and_digest(name: str) -> tuple[np.ndarray | ValueError, str | None]:
        try:
            pixels = read_any(source.item(name), size, reading)
        except ValueError as error:
            pixels = error
        return pixels, source.digest(name)

    names = [file.name for file in files]
    for file, (image, digest) in zip(files, in_threads(pixels_and_digest, names), strict=True):
        bar.update()
        file = file._replace(digest=digest)
        if isinstance(image, ValueError):
            reason = re.split(r" as an image: | as a volume: ", str(image), maxsplit=1)[-1]
            part.unreadable.append((file, reason))
            continue
        if stored:
            sums.append(pixel_sums(image[None])[0])
        else:
            images[len(part.files)] = image
        part.files.append(file)
        part.hashes.append(hash(image.tobytes()))
        part.gray.append(is_gray(image))
        if (image == image.reshape(-1, image.shape[-1])[0]).all():
            part.flat.append(file.name)
    if targets is None:
        labels = [file.label for file in part.files]
        label = label_array(labels, len(found.names), several=found.several)
    else:
        label = number_array([str(file.class_name) for file in part.files], len(targets))
    if not stored:
        return part._replace(image=images[: len(label)], label=label)
    paths = [source.item(file.name) for file in part.files]
    reader = ImageFiles(paths, size, reading)  # pyright: ignore[reportArgumentType]
    places = np.arange(len(label))
    kept = ImagesOnDisk(reader, places, size, images.dtype, np.asarray(sums).reshape(-1, 3))
    return part._replace(image=kept, label=label)


def with_masks(
    part: Part, source: MaskSource, classes: MaskClasses, sides: tuple[int, ...]
) -> Part:
    """Return the images that were read, with their masks as labels."""
    names = [file.name for file in part.files]
    digests = in_threads(source.mask_digest, names)
    return part._replace(
        label=labels_of_masks(source, names, classes, sides),
        files=[f._replace(mask=digest) for f, digest in zip(part.files, digests, strict=True)],
    )


def cut_part(parts: dict[str, Part], divided: dict[str, str], split: str) -> Part | None:
    """Return the images of one part of the run; None if there are none. They are in one of the
    splits that were read, and beside each other unless whole groups were held out."""
    for part in parts.values():
        places = [i for i, file in enumerate(part.files) if divided[file.name] == split]
        if places:
            kept = slice(places[0], places[-1] + 1)
            together = places[-1] + 1 - places[0] == len(places)
            return part._replace(
                image=part.image[kept] if together else part.image.take(places, axis=0),
                label=part.label[places],
                hashes=[part.hashes[i] for i in places],
                gray=[part.gray[i] for i in places],
            )
    return None


def one_channel(image: np.ndarray | ImagesOnDisk) -> np.ndarray | ImagesOnDisk:
    """Return one of three equal channels."""
    if not isinstance(image, ImagesOnDisk):
        return image[..., :1].copy()
    files: ImageFiles = image.read  # pyright: ignore[reportAssignmentType]
    paths: Sequence[Path] = files.paths  # pyright: ignore[reportAssignmentType]
    reader = ImageFiles(paths, files.size, files.reading, gray=True)
    return ImagesOnDisk(reader, image.places, (*image.item[:2], 1), image.dtype, image.sums / 3)
