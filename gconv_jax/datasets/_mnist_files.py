"""MNIST's four published files, and how they become arrays."""

import dataclasses

import numpy as np

from gconv_jax.datasets._archive import Member, read_members
from gconv_jax.datasets._check import check_labels, check_shape
from gconv_jax.datasets._idx import decode_idx
from gconv_jax.datasets._raw import Found, RawFile

SIDE = 28
CLASSES = 10


@dataclasses.dataclass(frozen=True)
class MnistFiles:
    """The files that hold MNIST, and the number of examples in each split.

    Attributes:
        files: the files by "<split>_images" and "<split>_labels".
        sizes: the number of examples by split.
    """

    files: dict[str, RawFile]
    sizes: dict[str, int]


def _file(name: str, size: str, md5: str, sha256: str, unpacked_md5: str) -> RawFile:
    return RawFile(
        url=f"https://storage.googleapis.com/cvdf-datasets/mnist/{name}.gz",
        size=size,
        checksums={"md5": md5, "sha256": sha256},
        unpacked={name: unpacked_md5},
    )


MNIST_FILES = MnistFiles(
    files={
        "train_images": _file(
            "train-images-idx3-ubyte",
            "9,912,422 bytes",
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "6bbc9ace898e44ae57da46a324031adb",
        ),
        "train_labels": _file(
            "train-labels-idx1-ubyte",
            "28,881 bytes",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "a25bea736e30d166cdddb491f175f624",
        ),
        "test_images": _file(
            "t10k-images-idx3-ubyte",
            "1,648,877 bytes",
            "9fb629c4189551a2d022fa330f9573f3",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "2646ac647ad5339dbf082846283269ea",
        ),
        "test_labels": _file(
            "t10k-labels-idx1-ubyte",
            "4,542 bytes",
            "ec29112dd5afa0611ce80d1b7f02629c",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "27ae3e4e09519cfbb04c329615203637",
        ),
    },
    sizes={"train": 60_000, "test": 10_000},
)


def read_mnist(source: MnistFiles, found: Found) -> dict[str, dict[str, np.ndarray]]:
    """Return ``image`` uint8 ``[N, 28, 28, 1]`` and ``label`` uint8 ``[N]`` by split, in order."""
    splits = {}
    for split, size in source.sizes.items():
        paths = found[f"{split}_images"] + found[f"{split}_labels"]
        members = read_members(paths, [path.name for path in paths])
        splits[split] = decode_split(*members, size=size, classes=CLASSES)
    return splits


def decode_split(
    images: Member, labels: Member, *, size: int, classes: int
) -> dict[str, np.ndarray]:
    """Return ``image`` uint8 ``[size, 28, 28, 1]`` and ``label`` uint8 ``[size]`` from two IDX
    files.

    Raises:
        ValueError: a file is damaged or holds another number of examples, or a label is no class.
    """
    image = decode_idx(images.content, ndim=3, where=images.where)
    label = decode_idx(labels.content, ndim=1, where=labels.where)
    return {
        "image": check_shape(image, (size, SIDE, SIDE), images.where)[..., None],
        "label": check_labels(check_shape(label, (size,), labels.where), classes, labels.where),
    }
