"""The folder of photographs of the page on one's own images, as the program reads it."""

import dataclasses
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from train.data.load import load_data
from train.recipes.presets import PRESETS

FOLDER = Path(__file__).parents[3] / "docs" / "pictures" / "cell_folder.py"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cell_folder", FOLDER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> Path:
    """Squares of one color, red in the first class and green in the other."""
    images = np.zeros((120, 28, 28, 3), np.uint8)
    images[:60, ..., 0] = images[60:, ..., 1] = 200
    path = tmp_path_factory.mktemp("npz") / "cells.npz"
    labels, names = np.repeat([[0], [1]], 60, 0), np.array(["red", "green"])
    arrays = {f"{split}_{what}": a for split in ("train", "test")
              for what, a in (("images", images), ("labels", labels))}  # fmt: skip
    np.savez(path, class_names=names, **arrays)
    return path


def test_the_program_reads_all_of_it_but_the_damaged_file(maker, cells, tmp_path):
    folder = tmp_path / "cells"
    maker.make_folder(folder, cells, ["red", "green"], 120)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len({path.suffix for path in files} & {f".{s}" for s in maker.SAVE}) == len(maker.SAVE)
    config = dataclasses.replace(PRESETS["folder"][1], data=folder, image_size=16, validation=0)
    data = load_data(config)
    assert data.names == ("green", "red")
    assert len(data.train.label) + len(data.test.label) == 120
    for split in (data.train, data.test):
        center = split.image[:, 8, 8].astype(int)
        right = np.where(split.label == 0, center[:, 1], center[:, 0])
        wrong = np.where(split.label == 0, center[:, 0], center[:, 1])
        assert right.min() > 180 and wrong.max() < 20
    notes = "\n".join(data.folder.notes)
    assert "green/download (1).jpg" in notes and "ignored 1 file" in notes
    assert "transparent parts" in notes and "DS_Store" not in notes


def test_images_without_a_class_have_it_in_their_names(maker, cells, tmp_path):
    maker.make_new_images(tmp_path / "new", cells, ["red"], 3)
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["red_00.jpg", "red_01.jpg", "red_02.jpg"]
    with Image.open(tmp_path / "new" / "red_00.jpg") as image:
        red, green, _ = image.getpixel((20, 20))
    assert red > 180 and green < 20
