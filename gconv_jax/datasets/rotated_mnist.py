"""Rotated MNIST, the original and a generated one, as a TFDS builder without TensorFlow."""

from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from gconv_jax.datasets._builder import ArrayRecordBuilder
from gconv_jax.datasets._generated import generate
from gconv_jax.datasets._larochelle import LAROCHELLE_FILES, read_larochelle
from gconv_jax.datasets._mnist_files import CLASSES, MNIST_FILES, SIDE, read_mnist
from gconv_jax.datasets._raw import RawFile, obtain

LAROCHELLE = "larochelle2007"
GENERATED = "generated"


class RotatedMnist(ArrayRecordBuilder):
    """Rotated MNIST: 28x28 gray digits, each turned by an angle uniform in [0, 2 pi).

    TFDS name ``rotated_mnist``. The splits are ``train`` (12,000) and ``test`` (50,000); by custom
    the first 10,000 of ``train`` are for training and the last 2,000 for validation. There are two
    configs.

    ``larochelle2007`` is the original, "MNIST-rot-12k" in the literature. An example has

      - ``image``: float32 ``[28, 28, 1]`` in [0, 1]. The values are no multiples of 1/255;
      - ``label``: the digit, 0 to 9.

    It needs ``mnist_rotation_new.zip`` (or its two .amat files) in the manual directory, or
    downloads it. A row of the files is taken to be an image column by column, as MATLAB writes it,
    so the images are transposed to be read as digits are. Much published code does not do that and
    trains on mirrored digits; for its pixels take ``image.transpose(1, 0, 2)``.

    ``generated``, "rotated MNIST, generated", is a stand-in for when the original cannot be had. It
    follows the published protocol: digits are drawn from MNIST's 70,000 without replacement, and
    rotated about the image center with bilinear interpolation and zeros outside. The seed is fixed
    and the arithmetic is that of integers, so it has the same bytes on every machine. But the
    digits, the angles and the interpolation are not those of the original. Results on it are not
    results on MNIST-rot-12k and must not be called so. An example has

      - ``image``: uint8 ``[28, 28, 1]``;
      - ``label``: the digit, 0 to 9;
      - ``angle``: float32, radians in [0, 2 pi), counter-clockwise as displayed;
      - ``index``: the index of the upright digit in MNIST, whose test split follows its train
        split, so that ``image`` is ``rotate_images(mnist[index], angle)``.

    It needs MNIST's four files (see `Mnist`).

    Example (see `load_arrays` for all of it as arrays in one call):

        >>> builder = RotatedMnist(config="generated")
        >>> sorted(builder.info.features)
        ['angle', 'image', 'index', 'label']
        >>> builder.download_and_prepare()  # doctest: +SKIP
        >>> valid = builder.as_data_source(split="train[10000:]")  # doctest: +SKIP

    Reference: Larochelle, Erhan, Courville, Bergstra, Bengio. An empirical evaluation of deep
    architectures on problems with many factors of variation. ICML 2007,
    doi:10.1145/1273496.1273556.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012 (TFDS's interface)
        tfds.core.BuilderConfig(name=LAROCHELLE, description="The original, of 2007."),
        tfds.core.BuilderConfig(
            name=GENERATED, description="Rotated MNIST, generated: not the original."
        ),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"For {LAROCHELLE}: {LAROCHELLE_FILES.archive.url} or the .amat files in it. "
        f"For {GENERATED}: the four files of https://storage.googleapis.com/cvdf-datasets/mnist/, "
        "gzipped or not."
    )

    _larochelle = LAROCHELLE_FILES
    _mnist = MNIST_FILES
    _generated_sizes = LAROCHELLE_FILES.sizes

    @property
    def raw_files(self) -> dict[str, RawFile]:
        """Return MNIST's four files, or the archive of 2007, as the config needs."""
        if self.builder_config.name == GENERATED:  # pyright: ignore[reportOptionalMemberAccess]
            return self._mnist.files
        return {"archive": self._larochelle.archive}

    def _info(self) -> tfds.core.DatasetInfo:
        generated = self.builder_config.name == GENERATED  # pyright: ignore[reportOptionalMemberAccess]
        more = {
            "angle": tfds.features.Scalar(np.float32),
            "index": tfds.features.Scalar(np.int64),
        }
        return self._image_info(
            "MNIST digits, each turned by an angle uniform in [0, 2 pi).",
            shape=(SIDE, SIDE, 1),
            classes=CLASSES,
            more=more if generated else {},  # pyright: ignore[reportArgumentType]
            dtype=np.uint8 if generated else np.float32,
            homepage="http://www.iro.umontreal.ca/~lisa/icml2007",
            citation=(
                "@inproceedings{larochelle2007empirical, title={An empirical evaluation of deep "
                "architectures on problems with many factors of variation}, author={Larochelle, "
                "Hugo and Erhan, Dumitru and Courville, Aaron and Bergstra, James and Bengio, "
                "Yoshua}, booktitle={ICML}, year={2007}}"
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        found = obtain(self.raw_files, dl_manager)
        if self.builder_config.name == GENERATED:  # pyright: ignore[reportOptionalMemberAccess]
            mnist = read_mnist(self._mnist, found)
            images = np.concatenate([mnist[split]["image"] for split in ("train", "test")])
            labels = np.concatenate([mnist[split]["label"] for split in ("train", "test")])
            splits = generate(images, labels, self._generated_sizes)
        else:
            splits = {
                split: read_larochelle(self._larochelle, found["archive"], split)
                for split in self._larochelle.sizes
            }
        return {split: self._generate_examples(blocks) for split, blocks in splits.items()}
