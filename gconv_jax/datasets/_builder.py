"""The base class of the builders: array_record files, and no progress bars in logs."""

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from numpy.typing import DTypeLike
from tensorflow_datasets.core.utils import tqdm_utils

from gconv_jax.datasets._raw import RawFile

_OF_WHOLE_SETS = ("dataset_info.json", "features.json")


class ArrayRecordBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder that writes array_record by default, since TFDS's default needs TensorFlow."""

    # The checksums are in `RawFile`, not in TFDS's file beside the code. Looking for that file
    # makes TFDS 4.9.10 import `importlib_resources`, which it does not ask to be installed.
    url_infos = None

    def __init__(self, *, file_format: str = "array_record", **kwargs: Any) -> None:
        super().__init__(file_format=file_format, **kwargs)

    @property
    def raw_files(self) -> dict[str, RawFile]:
        """Return the files that this builder is made from, by a key of its own."""
        raise NotImplementedError

    def is_prepared(self) -> bool:
        """Return whether the data set is prepared.

        `tfds.core.DatasetBuilder` looks for the files by a pattern. It finds none where the path
        has a character of patterns, such as ``[``.
        """
        return all((self.data_path / name).is_file() for name in _OF_WHOLE_SETS)

    def download_and_prepare(self, **kwargs: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Prepare the data set as `tfds.core.DatasetBuilder`; show progress only on a terminal."""
        with _progress_bar_only_on_terminal():
            super().download_and_prepare(**kwargs)

    def _image_info(
        self,
        description: str,
        *,
        shape: tuple[int, int, int],
        classes: int | Sequence[str],
        more: dict[str, tfds.features.FeatureConnector] | None = None,
        dtype: DTypeLike = np.uint8,
        homepage: str,
        citation: str,
    ) -> tfds.core.DatasetInfo:
        """Return the description of labeled images; ``more`` has further features by name."""
        features = {
            # Without this encoding every value would be written as a 64-bit integer.
            "image": tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes"),
            "label": class_label(classes),
            **(more or {}),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=description,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            disable_shuffling=True,  # the order of the files or of the draw, the same for everyone
            homepage=homepage,
            citation=citation,
        )

    def _generate_examples(
        self, blocks: Iterable[dict[str, np.ndarray]]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        # The keys count the examples: with `disable_shuffling` they are the order on disk.
        key = 0
        for block in blocks:
            for values in zip(*block.values(), strict=True):
                yield key, dict(zip(block, values, strict=True))
                key += 1

    # TFDS prints these two lines to stdout, past its logger.
    def _log_download_bytes(self) -> None:
        if _is_terminal(sys.stdout):
            super()._log_download_bytes()

    def _log_download_done(self) -> None:
        if _is_terminal(sys.stdout):
            super()._log_download_done()


def class_label(classes: int | Sequence[str]) -> tfds.features.ClassLabel:
    """Return the feature of a label, from its number of classes or their names in order."""
    if isinstance(classes, int):
        return tfds.features.ClassLabel(num_classes=classes)
    return tfds.features.ClassLabel(names=list(classes))


def _is_terminal(stream: Any) -> bool:
    return stream is not None and stream.isatty()  # pythonw has no streams


@contextlib.contextmanager
def _progress_bar_only_on_terminal() -> Iterator[None]:
    # TFDS has no question "is it on?", and a bar that the user has switched off must stay off.
    if _is_terminal(sys.stderr) or not tqdm_utils._active:
        yield
        return
    tfds.disable_progress_bar()
    try:
        yield
    finally:
        tfds.enable_progress_bar()
