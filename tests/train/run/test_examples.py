"""The test images to look at, and which file each of them is."""

import dataclasses
import shutil
import types

import numpy as np
import pytest

from train.config import Config
from train.data.class_folders import File
from train.data.image_files import read_image
from train.data.load import load_data
from train.data.provenance import write_record
from train.run.class_figures import softmax
from train.run.examples import EXAMPLES, examples, file_names
from train.run_folder.folder import Run


def data_of(label: list[int], names: list[str] | None):
    folder = None
    if names is not None:
        files = [File("train", 0, "a/x.png", 1)]
        files += [File("test", c, name, 1) for c, name in zip(label, names, strict=True)]
        folder = types.SimpleNamespace(files=files)
    test = types.SimpleNamespace(label=np.array(label))
    return types.SimpleNamespace(test=test, folder=folder)


def test_mistakes_come_in_the_order_of_confidence():
    logits = np.array([[9.0, 0], [0, 1], [0, 50], [0, 60], [0.2, 0]])
    found = examples(logits, data_of([0, 0, 0, 0, 0], None))
    assert [row["index"] for row in found["mistakes"]] == [3, 2, 1]
    assert [row["index"] for row in found["least_certain"]] == [4, 1, 0, 2, 3]
    first = found["least_certain"][0]
    assert first == {"index": 4, "true": 0, "predicted": 0, "probability": first["probability"]}
    assert first["probability"] == pytest.approx(softmax(logits)[4, 0])


def test_no_more_than_a_picture_has():
    logits = np.eye(2)[np.zeros(30, int)]
    names = [f"b/{i}.png" for i in range(30)]
    found = examples(logits, data_of([1] * 30, names))
    assert [row["file"] for row in found["mistakes"]] == names[:EXAMPLES]
    assert examples(logits, data_of([0] * 30, None))["mistakes"] == []


@pytest.fixture
def folder(own_images, tmp_path):
    path = shutil.copytree(own_images, tmp_path / "shapes")
    for name in ("ring", "star"):
        (path / name / "broken.png").write_text("no image")
    return path


@pytest.mark.parametrize("options", [{}, {"validation": 5}, {"test_images": 4, "train_images": 9}])
def test_each_file_is_its_image(folder, options):
    """Pixel for pixel, with files that cannot be read and images that are not used."""
    config = Config(dataset="folder", data=folder, image_size=28, batch_size=8, **options)
    for loader in ("memory", "grain"):
        data = load_data(dataclasses.replace(config, loader=loader))
        names = file_names(data)
        assert len(names) == len(data.test.label) > 3
        image = np.asarray(data.test.image)
        for name, label, pixels in zip(names, data.test.label, image, strict=True):
            assert name.startswith(("ring", "star")[label])
            np.testing.assert_array_equal(read_image(folder / name, (28, 28, 3)), pixels)
    # A negative control: the images differ.
    assert len({pixels.tobytes() for pixels in image}) == len(image)


def test_files_have_no_names_once_some_are_gone(folder, tmp_path):
    config = Config(dataset="folder", data=folder, image_size=28, batch_size=8)
    run = Run.create(config, tmp_path / "run")
    data = load_data(config)
    write_record(run, data.folder.files)
    form = {"shape": (28, 28, 3), "mean": data.mean, "std": data.std, "classes": 2}
    run.write_json("results.json", {"input": form})
    assert file_names(load_data(config, run, finished=True)) == file_names(data)
    (folder / file_names(data)[2]).unlink()
    left = load_data(config, run, finished=True)
    assert len(left.test.label) == len(data.test.label) - 1 and file_names(left) is None
