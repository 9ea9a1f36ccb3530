"""The published archive of EMNIST, and how its balanced set becomes arrays."""

import dataclasses
import string
from pathlib import Path

import numpy as np

from gconv_jax.datasets._archive import read_members
from gconv_jax.datasets._mnist_files import decode_split
from gconv_jax.datasets._raw import RawFile

# A lower-case letter that looks like its upper case (c, i, j, ...) is in the class of the latter.
BALANCED_CLASSES = tuple(string.digits + string.ascii_uppercase + "abdefghnqrt")


@dataclasses.dataclass(frozen=True)
class EmnistFiles:
    """The archive that holds the set, and its contents.

    Attributes:
        archive: the archive.
        members: the names of the files of images and of labels by split.
        sizes: the number of examples by split.
        classes: the names of the classes.
    """

    archive: RawFile
    members: dict[str, tuple[str, str]]
    sizes: dict[str, int]
    classes: tuple[str, ...]


_MEMBERS = {
    split: (
        f"emnist-balanced-{split}-images-idx3-ubyte.gz",
        f"emnist-balanced-{split}-labels-idx1-ubyte.gz",
    )
    for split in ("train", "test")
}
# The checksums are those of public loaders; two of them agree on the files of the train split.
_SHA256 = {
    _MEMBERS["train"][0]: "74295e75e4e9fa2c102147460ee7eb763653d5132d883a84fb88932bfb8d2db4",
    _MEMBERS["train"][1]: "b46d41e5156a0a8aaaa4d18979fdd1588850fa8571018acffd5d93b325a7d6ed",
    _MEMBERS["test"][0]: "117fc12b015e37ea98bfb2cbba3f77c3782c056cdbd219b87abfc8661d7135db",
    _MEMBERS["test"][1]: "a67cac948379b67270b9a4d0a01c8ec661598accf2f2b1964340b7c83cb175cd",
}

BALANCED_FILES = EmnistFiles(
    archive=RawFile(
        url="https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
        size="561,753,746 bytes",
        checksums={
            "md5": "58c8d27c78d21e728a6bc7b3cc06412e",
            "sha256": "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
        },
        unpacked=_SHA256,
        folder="gzip",
    ),
    members=_MEMBERS,
    sizes={"train": 112_800, "test": 18_800},
    classes=BALANCED_CLASSES,
)


def read_emnist(source: EmnistFiles, paths: tuple[Path, ...]) -> dict[str, dict[str, np.ndarray]]:
    """Return ``image`` uint8 ``[N, 28, 28, 1]``, upright, and ``label`` uint8 ``[N]``, by split.

    The files hold each image column by column, where MNIST's are row by row. Letters that are read
    like MNIST's digits lie on their side and are mirrored, so each image is transposed.
    """
    names = [name for pair in source.members.values() for name in pair]
    files = dict(zip(names, read_members(paths, names), strict=True))
    splits = {}
    for split, (images, labels) in source.members.items():
        arrays = decode_split(
            files[images], files[labels], size=source.sizes[split], classes=len(source.classes)
        )
        splits[split] = arrays | {"image": arrays["image"].swapaxes(1, 2)}
    return splits
