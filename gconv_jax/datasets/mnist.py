"""MNIST as a TFDS builder that needs no TensorFlow."""

from typing import Any

import tensorflow_datasets as tfds

from gconv_jax.datasets._builder import ArrayRecordBuilder
from gconv_jax.datasets._mnist_files import CLASSES, MNIST_FILES, SIDE, read_mnist
from gconv_jax.datasets._raw import RawFile, obtain


# Not registered by name: TFDS has a `mnist` of its own (which needs TensorFlow to prepare), and two
# of one name would break the import of TFDS's builders.
class Mnist(ArrayRecordBuilder, skip_registration=True):
    """MNIST: 70,000 handwritten digits, 28x28, gray. TFDS name ``mnist``.

    The splits are ``train`` (60,000) and ``test`` (10,000), in the order of the published files. An
    example has

      - ``image``: uint8 ``[28, 28, 1]``, 0 = background, 255 = ink;
      - ``label``: the digit, 0 to 9.

    The four files are taken from the manual directory (gzipped or not, also from ``MNIST/raw`` in
    it, and with a dot in their names: ``train-images.idx3-ubyte``), else downloaded (11.6 MB), and
    checked against their published md5.

    Example (see `load_arrays` for all of it as arrays in one call):

        >>> builder = Mnist()
        >>> builder.info.features["image"].shape
        (28, 28, 1)
        >>> builder.download_and_prepare()  # doctest: +SKIP
        >>> train = builder.as_data_source(split="train[:50000]")  # doctest: +SKIP

    Reference: LeCun, Bottou, Bengio, Haffner. Gradient-based learning applied to document
    recognition. Proceedings of the IEEE, 1998.
    """

    name = "mnist"
    # Below all versions of TFDS's own `mnist`: its files lie in the same directory but are others.
    VERSION = tfds.core.Version("0.1.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "The four files of https://storage.googleapis.com/cvdf-datasets/mnist/, gzipped or not."
    )

    _mnist = MNIST_FILES

    @property
    def raw_files(self) -> dict[str, RawFile]:
        """Return MNIST's four files."""
        return self._mnist.files

    def _info(self) -> tfds.core.DatasetInfo:
        return self._mnist_info("MNIST: 28x28 gray images of handwritten digits.")

    def _mnist_info(
        self, description: str, more: dict[str, tfds.features.FeatureConnector] | None = None
    ) -> tfds.core.DatasetInfo:
        return self._image_info(
            description,
            shape=(SIDE, SIDE, 1),
            classes=CLASSES,
            more=more,
            homepage="http://yann.lecun.com/exdb/mnist/",
            citation=(
                "@article{lecun1998gradient, title={Gradient-based learning applied to document "
                "recognition}, author={LeCun, Yann and Bottou, L{\\'e}on and Bengio, Yoshua and "
                "Haffner, Patrick}, journal={Proceedings of the IEEE}, year={1998}}"
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        # All files are read and checked before the first example is written.
        splits = read_mnist(self._mnist, obtain(self.raw_files, dl_manager))
        return {split: self._generate_examples([block]) for split, block in splits.items()}
