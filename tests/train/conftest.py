import dataclasses
from pathlib import Path

import pytest

from tests.train.runs import draw_shapes
from train.__main__ import main
from train.config import Config
from train.run_folder.folder import Run


@pytest.fixture(scope="session")
def tiny() -> Config:
    """A run of seconds: real digits, the real networks, few images and narrow layers."""
    return Config(
        model="p4cnn",
        width=2,
        dataset="digits",
        train_images=96,
        test_images=40,
        epochs=2,
        batch_size=16,
        parallel="jit",
        angles=4,
    )


@pytest.fixture(scope="session")
def smaller(tiny) -> Config:
    """Two convolutions and no report: for what training does around the network."""
    return dataclasses.replace(tiny, model="lenet", group="p4", report="none")


@pytest.fixture(scope="session")
def own_images(tmp_path_factory) -> Path:
    """A folder of rings and stars, in color, of several sizes and formats."""
    return draw_shapes(tmp_path_factory.mktemp("own") / "shapes", 16)


@pytest.fixture(scope="session")
def own_run(own_images, tmp_path_factory) -> Run:
    """A finished run on them, of one epoch, begun as users do."""
    path = tmp_path_factory.mktemp("own") / "run"
    options = ["--data", str(own_images), "--size", "28", "--model", "p4-lenet", "--epochs", "1"]
    options += ["--batch-size", "8", "--parallel", "jit", "--run", str(path)]
    assert main([*options, "--angles", "4"]) == 0
    return Run.open(path)
