"""The published archives of CIFAR-10 and CIFAR-100, and how they become arrays."""

import dataclasses
from pathlib import Path

import numpy as np

from gconv_jax.datasets._archive import Member, read_members
from gconv_jax.datasets._check import check_labels
from gconv_jax.datasets._cifar_classes import (
    CIFAR10_CLASSES,
    CIFAR100_CLASSES,
    CIFAR100_COARSE_CLASSES,
)
from gconv_jax.datasets._raw import RawFile

SIDE = 32
HOMEPAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
CITATION = (
    "@techreport{krizhevsky2009learning, title={Learning multiple layers of features from tiny "
    "images}, author={Krizhevsky, Alex}, institution={University of Toronto}, year={2009}}"
)


@dataclasses.dataclass(frozen=True)
class CifarFiles:
    """The archive that holds a set, and its contents.

    Attributes:
        archive: the archive.
        members: the names of the files by split, in order. All files of a split have one length.
        sizes: the number of examples by split.
        labels: the names of the classes by the name of the label, in the order of a record's bytes.
    """

    archive: RawFile
    members: dict[str, tuple[str, ...]]
    sizes: dict[str, int]
    labels: dict[str, tuple[str, ...]]


# These are the binary archives. Those for Python are pickles, which run code when they are read.
# The md5 of the packed files are those that public loaders check; several loaders agree on those of
# CIFAR-10.
CIFAR10_FILES = CifarFiles(
    archive=RawFile(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        size="170,052,171 bytes",
        checksums={
            "md5": "c32a1d4ab5d03f1284b67883e8d87530",
            "sha256": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        },
        unpacked={
            "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
            "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
            "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
            "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
            "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
            "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
        },
        folder="cifar-10-batches-bin",
    ),
    members={
        "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        "test": ("test_batch.bin",),
    },
    sizes={"train": 50_000, "test": 10_000},
    labels={"label": CIFAR10_CLASSES},
)

CIFAR100_FILES = CifarFiles(
    archive=RawFile(
        url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        size="168,513,733 bytes",
        checksums={
            "md5": "03b5dce01913d631647c71ecec9e9cb8",
            "sha256": "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        },
        unpacked={
            "train.bin": "6172c7755cfe09b2fe270c85cebc1b15",
            "test.bin": "4499cfba6c016c1be1438163640a0898",
        },
        folder="cifar-100-binary",
    ),
    members={"train": ("train.bin",), "test": ("test.bin",)},
    sizes={"train": 50_000, "test": 10_000},
    labels={"coarse_label": CIFAR100_COARSE_CLASSES, "label": CIFAR100_CLASSES},
)


def read_cifar(
    source: CifarFiles, paths: tuple[Path, ...]
) -> dict[str, list[dict[str, np.ndarray]]]:
    """Return a block for each file, by split: ``image`` uint8 ``[n, 32, 32, 3]``, labels uint8
    ``[n]``.

    Raises:
        ValueError: a file is damaged or of another length, or a label is no class.
    """
    names = [name for members in source.members.values() for name in members]
    files = dict(zip(names, read_members(paths, names), strict=True))
    splits = {}
    for split, members in source.members.items():
        size = source.sizes[split] // len(members)
        splits[split] = [_decode(files[name], source.labels, size) for name in members]
    return splits


def _decode(file: Member, labels: dict[str, tuple[str, ...]], size: int) -> dict[str, np.ndarray]:
    # A record is a byte for each label, then the red, the green and the blue plane row by row.
    record = len(labels) + 3 * SIDE * SIDE
    if len(file.content) != size * record:
        raise ValueError(
            f"{file.where}: {len(file.content)} bytes found, {size * record} expected ({size} "
            f"records of {record} bytes); fetch the file again"
        )
    records = np.frombuffer(file.content, np.uint8).reshape(size, record)
    planes = records[:, len(labels) :].reshape(size, 3, SIDE, SIDE)
    block = {"image": planes.transpose(0, 2, 3, 1)}
    for column, (name, classes) in enumerate(labels.items()):
        block[name] = check_labels(records[:, column], len(classes), file.where)
    return block
