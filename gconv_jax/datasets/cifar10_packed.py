"""CIFAR-10 from its lossless packing, as a TFDS builder that needs no TensorFlow."""

from typing import Any

import tensorflow_datasets as tfds

from gconv_jax.datasets._builder import ArrayRecordBuilder
from gconv_jax.datasets._cifar10_packed import PACKED_FILES, read_packed
from gconv_jax.datasets._cifar_classes import CIFAR10_CLASSES
from gconv_jax.datasets._cifar_files import CITATION, HOMEPAGE, SIDE
from gconv_jax.datasets._raw import RawFile, obtain


# It has a name of its own and is no config of `cifar10`: TFDS's `cifar10` has no configs, and the
# name must say which order a prepared set has.
class Cifar10Packed(ArrayRecordBuilder):
    """CIFAR-10 in another order, from a packing of half the size. TFDS name ``cifar10_packed``.

    In `load_arrays` it is ``cifar10/packed``. The images, the labels and the two splits are those
    of `Cifar10`, and so are the features. The
    order is not: each split is permuted at random, once for all, so that its first n images are a
    nearly balanced subset. "The last 5,000 for validation" are other images than the literature's,
    so a result on such a split must not be set beside those as one of the same protocol. A result
    of all of ``train`` on all of ``test`` may be.

    The builder needs Pillow, and ``cifar10_train.zip`` and ``cifar10_test.zip`` in the manual
    directory. These have no public address; they are checked against the known sha256.

    Example (see `load_arrays` for all of it as arrays in one call):

        >>> builder = Cifar10Packed()
        >>> sorted(builder.raw_files)
        ['test', 'train']
        >>> builder.download_and_prepare()  # doctest: +SKIP

    Reference: Krizhevsky. Learning multiple layers of features from tiny images. 2009.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The two files cifar10_train.zip and cifar10_test.zip."

    _packed = PACKED_FILES

    @property
    def raw_files(self) -> dict[str, RawFile]:
        """Return the two zips, by split."""
        return self._packed.files

    def _info(self) -> tfds.core.DatasetInfo:
        return self._image_info(
            "CIFAR-10: 32x32 color photographs of ten kinds of things. Not in the order of the "
            "published files.",
            shape=(SIDE, SIDE, 3),
            classes=CIFAR10_CLASSES,
            homepage=HOMEPAGE,
            citation=CITATION,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        splits = read_packed(self._packed, obtain(self.raw_files, dl_manager))
        return {split: self._generate_examples(blocks) for split, blocks in splits.items()}
