"""EMNIST as a TFDS builder that needs no TensorFlow."""

from typing import Any

import tensorflow_datasets as tfds

from gconv_jax.datasets._builder import ArrayRecordBuilder
from gconv_jax.datasets._emnist_files import BALANCED_FILES, read_emnist
from gconv_jax.datasets._mnist_files import SIDE
from gconv_jax.datasets._raw import RawFile, obtain

BALANCED = "balanced"


# Not registered by name, as `Mnist`: TFDS has an `emnist` of its own.
class Emnist(ArrayRecordBuilder, skip_registration=True):
    """EMNIST, balanced: 131,600 handwritten digits and letters, 28x28, gray. TFDS name ``emnist``.

    The one config is ``balanced``, with as many examples of each class. The splits ``train``
    (112,800) and ``test`` (18,800) have the order of the published files. An example has

      - ``image``: uint8 ``[28, 28, 1]``, 0 = background, 255 = ink, upright: the files have each
        image transposed (and so has TFDS's own ``emnist``);
      - ``label``: one of 47 classes: 0 to 9 are the digits, 10 to 35 the letters A to Z, 36 to 46
        the lower-case letters a b d e f g h n q r t. The other lower-case letters look like their
        upper case and are in its class. ``info.features["label"].names`` has the characters.

    ``gzip.zip`` is taken from the manual directory, or the four files ``emnist-balanced-*`` in it
    (there or in their folder ``gzip``, gzipped or not), else downloaded (562 MB), and checked
    against its published md5.

    Example (see `load_arrays` for all of it as arrays in one call):

        >>> builder = Emnist(config="balanced")
        >>> "".join(builder.info.features["label"].names)
        '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt'
        >>> builder.download_and_prepare()  # doctest: +SKIP

    Reference: Cohen, Afshar, Tapson, van Schaik. EMNIST: an extension of MNIST to handwritten
    letters. 2017, arXiv:1702.05373.
    """

    name = "emnist"
    # Below all versions of TFDS's own: its files lie in the same directory but are others.
    VERSION = tfds.core.Version("0.1.0")
    BUILDER_CONFIGS = [  # noqa: RUF012 (TFDS's interface)
        tfds.core.BuilderConfig(name=BALANCED, description="47 classes, as many examples of each."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"{BALANCED_FILES.archive.url} or the four files emnist-balanced-* in it."
    )

    _emnist = BALANCED_FILES

    @property
    def raw_files(self) -> dict[str, RawFile]:
        """Return the archive."""
        return {"archive": self._emnist.archive}

    def _info(self) -> tfds.core.DatasetInfo:
        return self._image_info(
            "EMNIST: 28x28 gray images of handwritten digits and letters, upright.",
            shape=(SIDE, SIDE, 1),
            classes=self._emnist.classes,
            homepage="https://www.nist.gov/itl/products-and-services/emnist-dataset",
            citation=(
                "@article{cohen2017emnist, title={EMNIST: an extension of MNIST to handwritten "
                "letters}, author={Cohen, Gregory and Afshar, Saeed and Tapson, Jonathan and van "
                "Schaik, Andr{\\'e}}, journal={arXiv:1702.05373}, year={2017}}"
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        # All files are read and checked before the first example is written.
        splits = read_emnist(self._emnist, obtain(self.raw_files, dl_manager)["archive"])
        return {split: self._generate_examples([block]) for split, block in splits.items()}
