"""Data sets by name, as NumPy arrays in memory or as records that stay on disk."""

import difflib
import os
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from google.protobuf.json_format import ParseError

from gconv_jax.datasets._builder import ArrayRecordBuilder
from gconv_jax.datasets._raw import find_all, missing_message
from gconv_jax.datasets.cifar import Cifar10, Cifar100
from gconv_jax.datasets.cifar10_packed import Cifar10Packed
from gconv_jax.datasets.emnist import BALANCED, Emnist
from gconv_jax.datasets.mnist import Mnist
from gconv_jax.datasets.mnist6 import Mnist6M, Mnist6180
from gconv_jax.datasets.records import Records
from gconv_jax.datasets.rotated_mnist import GENERATED, LAROCHELLE, RotatedMnist
from gconv_jax.datasets.rotated_test_mnist import MnistRotatedTest

# `mnist` and `cifar10` mean the published sets. `rotated_mnist` alone is no name, since a result
# has to say which of its sets it was measured on.
_BUILDERS = {
    "mnist": (Mnist, None),
    "mnist/rotated_test": (MnistRotatedTest, None),
    "mnist6_180": (Mnist6180, None),
    "mnist6_m": (Mnist6M, None),
    f"rotated_mnist/{GENERATED}": (RotatedMnist, GENERATED),
    f"rotated_mnist/{LAROCHELLE}": (RotatedMnist, LAROCHELLE),
    f"emnist/{BALANCED}": (Emnist, BALANCED),
    "cifar10": (Cifar10, None),
    "cifar10/packed": (Cifar10Packed, None),
    "cifar100": (Cifar100, None),
}


def load_arrays(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    raw_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> dict[str, dict[str, np.ndarray]]:
    """Load a data set into memory, preparing it at the first call.

    The first call makes a TFDS data set under ``data_dir``, from files in ``raw_dir`` or else from
    downloaded ones; later calls only read it. A preparation that fails or is interrupted leaves no
    data set behind, and the next call starts it again.

    Args:
        name: the data set, one of

            - ``"mnist"``: see `Mnist`;
            - ``"mnist/rotated_test"``: upright to train, rotated to test; see `MnistRotatedTest`;
            - ``"mnist6_180"``, ``"mnist6_m"``: see `Mnist6180`, `Mnist6M`;
            - ``"rotated_mnist/generated"``, ``"rotated_mnist/larochelle2007"``: see `RotatedMnist`;
            - ``"emnist/balanced"``: see `Emnist`;
            - ``"cifar10"``, ``"cifar100"``: see `Cifar10`, `Cifar100`;
            - ``"cifar10/packed"``: another order, from another archive; see `Cifar10Packed`.
        data_dir: the directory in which TFDS keeps prepared data sets. None is TFDS's own default:
            the environment variable ``TFDS_DATA_DIR``, or else ``~/tensorflow_datasets``.
        raw_dir: a directory that holds the published files, packed or unpacked. It is only read,
            and only when the data set is not prepared yet. None is TFDS's ``downloads/manual`` in
            ``data_dir``.
        download: whether a file that is not in ``raw_dir`` may be downloaded.

    Returns:
        C-contiguous arrays by split (``"train"``, ``"test"``, in some sets ``"validation"``) and
        feature. Their order is that of the data set, the same for everyone. The features are
        ``image`` ``[N, H, W, C]`` (uint8, or float32 for larochelle2007) and ``label`` int32
        ``[N]``. Some sets have more: ``angle`` float32 ``[N]`` in radians where images were rotated
        here, ``index`` int32 ``[N]`` where digits were drawn, and ``coarse_label`` int32 ``[N]``
        for ``"cifar100"``.

    Raises:
        ValueError: there is no such data set, or a raw file is damaged or not the published one.
        FileNotFoundError: raw files are neither in ``raw_dir`` nor can be downloaded. The message
            says what to fetch and where to put it.
        ImportError: Pillow, which only ``"cifar10/packed"`` needs, is not installed.
        OSError: the place of the data set holds something that is no complete data set, or its
            files have changed since they were written. The message says what to remove.

    Example::

        data = load_arrays("rotated_mnist/generated", raw_dir="data/mnist")
        data["train"]["image"].shape  # (12000, 28, 28, 1)
    """
    splits = open_records(name, data_dir=data_dir, raw_dir=raw_dir, download=download)
    return {split: records.read(range(len(records))) for split, records in splits.items()}


def open_records(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    raw_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> dict[str, Records]:
    """Open a data set that stays on disk, preparing it at the first call.

    It suits data that do not fit in memory, and pipelines such as Grain's. Arguments, errors,
    features and the order of examples are those of `load_arrays`.

    Returns:
        The `Records` by split: ``records[i]`` is one example, ``records.read(indices)`` reads many.

    Example::

        train = open_records("cifar10", data_dir="data/tfds")["train"]
        pipeline = grain.MapDataset.source(train).seed(0).shuffle().batch(128)
    """
    try:
        builder = _make_builder(name, data_dir)
        if not builder.data_path.exists():
            _prepare(builder, raw_dir, download=download)
            builder = _make_builder(name, data_dir)  # which now has its description
    except (ParseError, AssertionError, UnicodeDecodeError) as error:
        root = "the folder of TFDS" if data_dir is None else os.fspath(data_dir)
        raise OSError(
            f"the description of {name} in {root} is damaged ({error}); remove the data set there, "
            "and it is prepared again"
        ) from None
    if not builder.is_prepared():
        raise OSError(
            f"{builder.data_path} is there but holds no complete data set, which TFDS never leaves "
            "so itself; remove it, or give another `data_dir`"
        )
    return {split: Records(builder, split) for split in builder.info.splits}


def _make_builder(name: str, data_dir: str | os.PathLike[str] | None) -> ArrayRecordBuilder:
    if name not in _BUILDERS:
        configs = [full for full in _BUILDERS if full.startswith(f"{name}/")]
        nearest = difflib.get_close_matches(str(name), configs or _BUILDERS, n=1, cutoff=0.0)[0]
        known = ", ".join(map(repr, _BUILDERS))
        raise ValueError(f"`name` must be one of {known}, got {name!r}; did you mean {nearest!r}?")
    builder_class, config = _BUILDERS[name]
    if data_dir is not None:
        data_dir = Path(data_dir).expanduser()
    return builder_class(data_dir=data_dir, config=config)


def _prepare(
    builder: ArrayRecordBuilder, raw_dir: str | os.PathLike[str] | None, *, download: bool
) -> None:
    """Make the data set on disk from raw files, which are downloaded if that is allowed."""
    if raw_dir is None:
        folder = Path(builder.data_dir_root, "downloads", "manual").expanduser()
    else:
        folder = Path(raw_dir).expanduser()
        if not folder.is_dir():
            raise FileNotFoundError(f"`raw_dir` must be a directory, got {os.fspath(raw_dir)!r}")
    if not download:
        found = find_all(builder.raw_files, folder)
        missing = {k: file for k, file in builder.raw_files.items() if k not in found}
        if missing:
            raise FileNotFoundError(missing_message(missing, folder, "`download` is False"))
    config = tfds.download.DownloadConfig(manual_dir=folder, try_download_gcs=False)
    try:
        builder.download_and_prepare(download_config=config)
    except OSError:
        # Another process may have finished first, so that TFDS cannot move its files into place.
        if not (builder.data_path.exists() and builder.is_prepared()):
            raise
