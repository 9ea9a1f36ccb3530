"""Fixtures: the builders on tiny raw files, and where the real ones are."""

import os
from pathlib import Path

import pytest

from gconv_jax.datasets import Cifar10, Cifar10Packed, Cifar100, Emnist, Mnist, RotatedMnist
from gconv_jax.datasets._raw import find_all
from tests.datasets import more_raw_files, raw_files


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A directory with tiny raw files of all kinds, packed; the builders take them as the real."""
    folder = tmp_path / "raw"
    mnist = raw_files.write_mnist(folder)
    monkeypatch.setattr(Mnist, "_mnist", mnist)
    monkeypatch.setattr(RotatedMnist, "_mnist", mnist)
    monkeypatch.setattr(RotatedMnist, "_generated_sizes", raw_files.GENERATED_SIZES)
    monkeypatch.setattr(RotatedMnist, "_larochelle", raw_files.write_larochelle(folder))
    monkeypatch.setattr(Cifar10, "_cifar", more_raw_files.write_cifar("cifar10", folder))
    monkeypatch.setattr(Cifar100, "_cifar", more_raw_files.write_cifar("cifar100", folder))
    monkeypatch.setattr(Cifar10Packed, "_packed", more_raw_files.write_packed(folder))
    monkeypatch.setattr("gconv_jax.datasets._cifar10_packed.STRIPE", more_raw_files.STRIPE)
    monkeypatch.setattr(Emnist, "_emnist", more_raw_files.write_emnist(folder))
    return folder


@pytest.fixture(scope="session")
def real_mnist_dir() -> Path:
    """The directory with MNIST's published files: $GCONV_RAW_DIR/mnist or ../shared/data/mnist."""
    return _real_dir("mnist")


@pytest.fixture
def real_raw_dir(tmp_path):
    """`real_raw_dir(name, builder_class)`: as above for others; skips where a file is absent."""

    def find(name: str, builder_class) -> Path:
        folder, files = _real_dir(name), builder_class(data_dir=tmp_path).raw_files
        absent = [file.name for key, file in files.items() if key not in find_all(files, folder)]
        if absent:
            pytest.skip(f"no {', '.join(absent)} in {folder}")
        return folder

    return find


def _real_dir(name: str) -> Path:
    beside = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("GCONV_RAW_DIR", beside)) / name
    if not folder.is_dir():
        pytest.skip(f"no data in {folder}: set GCONV_RAW_DIR to the directory above `{name}`")
    return folder
