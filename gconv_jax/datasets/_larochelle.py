"""The original rotated MNIST: its archive, and how a row of it becomes an image and a label."""

import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np

from gconv_jax.datasets._amat import open_amat, read_amat
from gconv_jax.datasets._mnist_files import CLASSES, SIDE
from gconv_jax.datasets._raw import RawFile


@dataclasses.dataclass(frozen=True)
class LarochelleFiles:
    """Which archive holds the set, and what is in it.

    Attributes:
      archive: the archive.
      members: name of the .amat file by split.
      sizes: number of examples by split.
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
        # As public loaders of this archive have them: several agree on the md5, skdata on the sha1.
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
    source: LarochelleFiles, paths: tuple[pathlib.Path, ...], split: str
) -> Iterator[dict[str, np.ndarray]]:
    """Blocks of `image` float32 `[n, 28, 28, 1]` and `label` int64 `[n]`, in the file's order.

    A row is taken to be an image column by column, as MATLAB, with which the set was made, writes
    it, so each image is transposed. Read row by row, as much published code does, all digits would
    be mirrored. This rests on others' converters (those of Harmonic Networks, for one, transpose as
    well): when this was written, no copy of the archive could be had to look at.

    Raises:
      ValueError: the file is damaged, has another number of rows, values that are no gray values,
        or labels that are no digits. The message names the file.
    """
    name, size, pixels = source.members[split], source.sizes[split], SIDE * SIDE
    # The file itself, or the archive and the file in it.
    where = next((str(path) for path in paths if path.name == name), f"{paths[0]}: {name}")
    done = 0
    with open_amat(paths, name) as lines:
        for block in read_amat(lines, name=where, columns=pixels + 1):
            values, labels = block[:, :pixels], block[:, pixels]
            # A wide margin: to tell [0, 1] from [0, 255], not to judge how it was interpolated.
            if not (np.abs(values - 0.5) <= 1).all():
                raise ValueError(f"{where}: gray values must be in [0, 1]. Is it the right file?")
            if not np.isin(labels, np.arange(CLASSES)).all():
                raise ValueError(
                    f"{where}: labels must be digits, the last column of a row. "
                    "Is it the right file?"
                )
            images = values.reshape(-1, SIDE, SIDE, 1).swapaxes(1, 2)
            yield {"image": images, "label": labels.astype(np.int64)}
            done += len(block)
    if done != size:
        raise ValueError(f"{where}: {done} rows found, {size} expected. Fetch the file again.")
