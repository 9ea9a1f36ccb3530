"""The lossless packing of CIFAR-10, half the size of the archive: stripes of images as WebP."""

import dataclasses
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from gconv_jax.datasets._archive import Member, read_members
from gconv_jax.datasets._check import check_labels, check_shape
from gconv_jax.datasets._cifar_classes import CIFAR10_CLASSES
from gconv_jax.datasets._cifar_files import SIDE
from gconv_jax.datasets._raw import Found, RawFile

# The number of images on top of each other in one picture.
STRIPE = 500


@dataclasses.dataclass(frozen=True)
class PackedFiles:
    """The zips that hold the set, and the number of examples in each split.

    Attributes:
        files: the files by split.
        sizes: the number of examples by split.
    """

    files: dict[str, RawFile]
    sizes: dict[str, int]


PACKED_FILES = PackedFiles(
    files={
        "train": RawFile(
            url="cifar10_train.zip",
            size="82,193,942 bytes",
            checksums={
                "sha256": "718f7e50c82350b5dd947289b433b67c4db3e4050f6589954ed48f6295ed8e7a"
            },
            unpacked={},
        ),
        "test": RawFile(
            url="cifar10_test.zip",
            size="16,448,898 bytes",
            checksums={
                "sha256": "0d58b14fa5937215047f4ae657078c4ad5f400a7c255799023b859e59b8cb65f"
            },
            unpacked={},
        ),
    },
    sizes={"train": 50_000, "test": 10_000},
)


def read_packed(source: PackedFiles, found: Found) -> dict[str, Iterator[dict[str, np.ndarray]]]:
    """Return blocks of ``image`` uint8 ``[n, 32, 32, 3]`` and ``label`` uint8 ``[n]``, by split.

    A zip holds ``labels.npy``, uint8 in the order of the images, and ``000.webp``, ``001.webp`` and
    so on. Each of these has 500 images of 32x32 on top of each other, the last one fewer. They are
    decoded when they are asked for.

    Raises:
        ImportError: Pillow is not installed.
        ValueError: a file is damaged or holds another number of examples, or a label is no class.
    """
    pillow = _import_pillow()
    splits = {}
    for split, size in source.sizes.items():
        stripes = [f"{i:03d}.webp" for i in range(-(-size // STRIPE))]
        labels, *pictures = read_members(found[split], ["labels.npy", *stripes])
        splits[split] = _blocks(pillow, pictures, _decode_labels(labels, size))
    return splits


def _import_pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("The packed CIFAR-10 is read with Pillow: pip install pillow") from error
    return Image


def _decode_labels(file: Member, size: int) -> np.ndarray:
    try:
        labels = np.load(io.BytesIO(file.content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file.where}: {error}; fetch the archive again") from error
    if labels.dtype != np.uint8:
        raise ValueError(f"{file.where}: labels must be uint8, got {labels.dtype}")
    return check_labels(check_shape(labels, (size,), file.where), len(CIFAR10_CLASSES), file.where)


def _blocks(
    pillow: Any, pictures: list[Member], labels: np.ndarray
) -> Iterator[dict[str, np.ndarray]]:
    for i, (where, content) in enumerate(pictures):
        part = labels[i * STRIPE : (i + 1) * STRIPE]
        try:
            with pillow.open(io.BytesIO(content)) as picture:
                pixels = np.asarray(picture)
        except OSError as error:
            raise ValueError(f"{where}: no picture that Pillow can read ({error})") from error
        check_shape(pixels, (SIDE * len(part), SIDE, 3), where)
        yield {"image": pixels.reshape(-1, SIDE, SIDE, 3), "label": part}
