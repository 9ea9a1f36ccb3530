"""Fixtures: the builders on tiny raw files, and where the real ones are."""

import os
import pathlib

import pytest

from gconv_jax.datasets import Mnist, RotatedMnist
from tests.datasets import raw_files


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Directory with tiny raw files of both kinds, packed; the builders take them as the real."""
    folder = tmp_path / "raw"
    mnist = raw_files.write_mnist(folder)
    monkeypatch.setattr(Mnist, "_mnist", mnist)
    monkeypatch.setattr(RotatedMnist, "_mnist", mnist)
    monkeypatch.setattr(RotatedMnist, "_generated_sizes", raw_files.GENERATED_SIZES)
    monkeypatch.setattr(RotatedMnist, "_larochelle", raw_files.write_larochelle(folder))
    return folder


@pytest.fixture(scope="session")
def real_mnist_dir() -> pathlib.Path:
    """Directory with MNIST's published files: $GCONV_RAW_DIR/mnist or ../shared/data/mnist."""
    beside = pathlib.Path(__file__).parents[3] / "shared" / "data"
    folder = pathlib.Path(os.environ.get("GCONV_RAW_DIR", beside)) / "mnist"
    if not folder.is_dir():
        pytest.skip(f"no MNIST in {folder}: set GCONV_RAW_DIR to the directory above `mnist`")
    return folder
