"""CIFAR-10 and CIFAR-100 as TFDS builders that need no TensorFlow."""

from typing import Any

import tensorflow_datasets as tfds

from gconv_jax.datasets._builder import ArrayRecordBuilder, class_label
from gconv_jax.datasets._cifar_files import (
    CIFAR10_FILES,
    CIFAR100_FILES,
    CITATION,
    HOMEPAGE,
    SIDE,
    read_cifar,
)
from gconv_jax.datasets._raw import RawFile, obtain


# Not registered by name, as `Mnist`: TFDS has a `cifar10` and a `cifar100` of its own.
class Cifar10(ArrayRecordBuilder, skip_registration=True):
    """CIFAR-10: 60,000 photographs, 32x32, in color. TFDS name ``cifar10``.

    The splits ``train`` (50,000) and ``test`` (10,000) have the order of the published files, so
    that "the last 5,000 for validation" are those of the literature. An example has

      - ``image``: uint8 ``[32, 32, 3]``, red, green, blue;
      - ``label``: 0 to 9, with the names airplane, automobile, bird, cat, deer, dog, frog, horse,
        ship, truck.

    ``cifar-10-binary.tar.gz`` is taken from the manual directory, or the .bin files in it (there or
    in their folder ``cifar-10-batches-bin``), else downloaded (170 MB), and checked against its
    published md5. See `Cifar10Packed` for the same images in another order.

    Example (see `load_arrays` for all of it as arrays in one call):

        >>> builder = Cifar10()
        >>> builder.info.features["label"].names[:2]
        ['airplane', 'automobile']
        >>> builder.download_and_prepare()  # doctest: +SKIP
        >>> train = builder.as_data_source(split="train[:45000]")  # doctest: +SKIP

    Reference: Krizhevsky. Learning multiple layers of features from tiny images. 2009.
    """

    name = "cifar10"
    # Below all versions of TFDS's own: its files lie in the same directory but are others.
    VERSION = tfds.core.Version("0.1.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"{CIFAR10_FILES.archive.url} or the .bin files in it."

    _cifar = CIFAR10_FILES
    _description = "CIFAR-10: 32x32 color photographs of ten kinds of things."

    @property
    def raw_files(self) -> dict[str, RawFile]:
        """Return the archive."""
        return {"archive": self._cifar.archive}

    def _info(self) -> tfds.core.DatasetInfo:
        labels = dict(self._cifar.labels)
        return self._image_info(
            self._description,
            shape=(SIDE, SIDE, 3),
            classes=labels.pop("label"),
            more={name: class_label(classes) for name, classes in labels.items()},
            homepage=HOMEPAGE,
            citation=CITATION,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        # All files are read and checked before the first example is written.
        splits = read_cifar(self._cifar, obtain(self.raw_files, dl_manager)["archive"])
        return {split: self._generate_examples(blocks) for split, blocks in splits.items()}


class Cifar100(Cifar10, skip_registration=True):
    """CIFAR-100: 60,000 photographs, 32x32, in color. TFDS name ``cifar100``.

    The splits are ``train`` (50,000) and ``test`` (10,000), in the order of the published files. An
    example has

      - ``image``: uint8 ``[32, 32, 3]``, red, green, blue;
      - ``label``: the class ("fine label"), 0 to 99 in alphabetical order, apple to worm;
      - ``coarse_label``: the superclass, 0 to 19, five classes each.

    ``cifar-100-binary.tar.gz`` is taken from the manual directory, or the .bin files in it (there
    or in their folder ``cifar-100-binary``), else downloaded (169 MB), and checked against its
    published md5.

    Example (see `load_arrays` for all of it as arrays in one call):

        >>> builder = Cifar100()
        >>> builder.info.features["coarse_label"].num_classes
        20
        >>> builder.download_and_prepare()  # doctest: +SKIP

    Reference: Krizhevsky. Learning multiple layers of features from tiny images. 2009.
    """

    name = "cifar100"
    VERSION = tfds.core.Version("0.1.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"{CIFAR100_FILES.archive.url} or the .bin files in it."

    _cifar = CIFAR100_FILES
    _description = "CIFAR-100: 32x32 color photographs of a hundred kinds of things."
