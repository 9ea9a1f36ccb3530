"""The original rotated MNIST: its archive, and how a row of it becomes an image and a label."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gconv_jax.datasets._amat import open_amat, read_amat
from gconv_jax.datasets._mnist_files import CLASSES, SIDE
from gconv_jax.datasets._raw import RawFile


@dataclasses.dataclass(frozen=True)
class LarochelleFiles:
    """The archive that holds the set, and its contents.

    Attributes:
        archive: the archive.
        members: the name of the .amat file by split.
        sizes: the number of examples by split.
    """

    archive: RawFile
    members: dict[str, str]
    sizes: dict[str, int]


_MEMBERS = {
    "train": "mnist_all_rotation_normalized_float_train_valid.amat",
    "test": "mnist_all_rotation_normalized_float_test.amat",
}

LAROCHELLE_FILES = LarochelleFiles(
    archive=RawFile(
        url="http://www.iro.umontreal.ca/~lisa/icml2007data/mnist_rotation_new.zip",
        size="about 56 MB",
        # The checksums are those of public loaders: several agree on the md5, skdata has the sha1.
        checksums={
            "md5": "0f9a947ff3d30e95cd685462cbf3b847",
            "sha1": "e67f72fa42029f62fd8eb92b0638c1b9761c9a63",
        },
        unpacked=dict.fromkeys(_MEMBERS.values()),
    ),
    members=_MEMBERS,
    sizes={"train": 12_000, "test": 50_000},
)


def read_larochelle(
    source: LarochelleFiles, paths: tuple[Path, ...], split: str
) -> Iterator[dict[str, np.ndarray]]:
    """Yield blocks of ``image`` float32 ``[n, 28, 28, 1]`` and ``label`` int64 ``[n]``, in order.

    A row is taken to be an image column by column, as MATLAB writes it, with which the set was
    made. So each image is transposed. All digits would be mirrored if they were read row by row, as
    much published code does. This rests on the converters of others, such as that of Harmonic
    Networks, which transposes as well: when this was written, no copy of the archive was at hand.

    Raises:
        ValueError: the file is damaged, has another number of rows, values that are no gray values,
            or labels that are no digits. The message names the file.
    """
    name, size, pixels = source.members[split], source.sizes[split], SIDE * SIDE
    # Messages name the file itself, or the archive and the file in it.
    where = next((str(path) for path in paths if path.name == name), f"{paths[0]}: {name}")
    done = 0
    with open_amat(paths, name) as lines:
        for block in read_amat(lines, name=where, columns=pixels + 1):
            values, labels = block[:, :pixels], block[:, pixels]
            # The check tells [0, 1] from [0, 255]; the margin is wide for any interpolation.
            if not (np.abs(values - 0.5) <= 1).all():
                raise ValueError(f"{where}: gray values must be in [0, 1]; is it the right file?")
            if not np.isin(labels, np.arange(CLASSES)).all():
                raise ValueError(
                    f"{where}: labels must be digits, the last column of a row; "
                    "is it the right file?"
                )
            images = values.reshape(-1, SIDE, SIDE, 1).swapaxes(1, 2)
            yield {"image": images, "label": labels.astype(np.int64)}
            done += len(block)
    if done != size:
        raise ValueError(f"{where}: {done} rows found, {size} expected; fetch the file again")
