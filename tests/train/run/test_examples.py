"""The test images to look at, and which file each of them is."""

import shutil
import types

import numpy as np
import pytest

from train.config import Config
from train.data.image_files import read_image
from train.data.listing import File
from train.data.load import load_data
from train.data.provenance import write_record
from train.data.sources import open_source
from train.run.class_figures import softmax
from train.run.examples import EXAMPLES, examples, file_names
from train.run_folder.folder import Run


def data_of(label: list[int], names: list[str] | None):
    folder = None
    if names is not None:
        files = [File("train", 0, "a/x.png", 1)]
        files += [File("test", c, name, 1) for c, name in zip(label, names, strict=True)]
        folder = types.SimpleNamespace(files=files, numbers=False, masks=None)
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


def assert_each_is_its_image(config: Config) -> None:
    """Pixel for pixel: each test image is that of the file that is said to be its own."""
    data = load_data(config)
    names, source = file_names(data), open_source(config.data)
    assert len(names) == len(data.test.label) > 3
    image, how = np.asarray(data.test.image), data.folder.reading.arguments()
    for name, pixels in zip(names, image, strict=True):
        np.testing.assert_array_equal(read_image(source.item(name), (28, 28, 3), **how), pixels)
    # A negative control: the images differ.
    assert len({pixels.tobytes() for pixels in image}) == len(image)


@pytest.mark.parametrize(
    "options",
    [{}, {"validation": 5}, {"test_images": 4, "train_images": 9}, {"loader": "grain"}],
    ids=str,
)
def test_each_file_is_its_image(folder, options):
    """There are files that cannot be read, and images that are not used."""
    config = Config(dataset="folder", data=folder, image_size=28, batch_size=8, **options)
    assert_each_is_its_image(config)


def test_each_row_and_each_array_is_its_image(own_images, tmp_path):
    files = sorted(own_images.glob("*/*"))
    rows = [f"{path},{path.parent.name}" for path in reversed(files)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 28, 28, 3), dtype=np.uint8)
    np.savez(tmp_path / "arrays.npz", train_images=image, train_labels=np.arange(40) % 2)
    for data in ("list.csv", "arrays.npz"):
        config = Config(dataset="folder", data=tmp_path / data, image_size=28, batch_size=8)
        assert_each_is_its_image(config)


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
