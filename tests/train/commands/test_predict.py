"""Image files, folders and lists of them to classes and features: on lines and in files."""

import csv
import io
import json
import shutil
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from train.__main__ import main
from train.commands.features import Features, features
from train.commands.predict import Predict, predict
from train.data import image_files
from train.run.classify_files import answer_files
from train.run.prediction_file import require_predictions
from train.run.predictor import BATCH, load_predictor


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def folder(own_images, tmp_path_factory):
    """Folders of images with files that are none of the user's images."""
    path = tmp_path_factory.mktemp("given") / "photos"
    (path / "deep" / "er").mkdir(parents=True)
    for name in ("b.png", "deep/er/a.png", "deep/c.png"):
        shutil.copy(own_images / "ring" / "0.png", path / name)
    shutil.copy(own_images / "star" / "0.png", path / "a.png")
    for name in (".hidden.png", "deep/._c.png", "Thumbs.db", "deep/notes.txt"):
        (path / name).write_text("no image")
    return path


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    path = tmp_path_factory.mktemp("damaged") / "bad, very.png"
    path.write_text("no image")
    return path


def listed(folder) -> list:
    return [folder / name for name in ("a.png", "b.png", "deep/c.png", "deep/er/a.png")]


def test_a_folder_and_a_list_stand_for_their_files(own_run, folder, capsys, monkeypatch):
    files = [str(path) for path in listed(folder)]
    assert main(["predict", str(own_run.path), *files]) == 0
    expected = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in expected] == files
    assert main(["predict", str(own_run.path), str(folder)]) == 0
    note, *lines = capsys.readouterr().out.splitlines()
    assert note == f"ignored 1 file in {folder}: 1 .txt"
    assert lines == expected
    names = f"{files[0]}\r\n\n{files[1]}\n{folder / 'deep'}\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(names.encode())))
    assert main(["predict", str(own_run.path), "-", "--top", "1"]) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    assert lines == [line.split(", ")[0] for line in expected]


def test_a_table_has_all_probabilities_and_the_errors(own_run, folder, damaged, tmp_path, capsys):
    files = [*listed(folder)[:2], damaged, listed(folder)[3]]
    good = [files[0], files[1], files[3]]
    expected = predict(Predict(own_run.path, tuple(good)), silent)
    for name in ("x.csv", "x.json"):
        (tmp_path / name).write_text("what was there before")
        command = ["predict", str(own_run.path), *map(str, files), "--output"]
        assert main([*command, str(tmp_path / name)]) == 2
        out, err = capsys.readouterr()
        assert f"cannot read {damaged} as an image" in err and err.count("\n") == 1
        counts = np.bincount(expected.argmax(-1), minlength=2)
        assert out.startswith(f"{tmp_path / name}: 3 images: ") and len(out.splitlines()) == 1
        assert all(f"{n} {c}" in out for n, c in zip(counts, ("ring", "star"), strict=True) if n)
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    objects = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    for rows in (table, objects):
        assert [row["path"] for row in rows] == list(map(str, files))
    assert list(table[0]) == ["path", "predicted", "probability", "error", "ring", "star"]
    bad = table.pop(2), objects.pop(2)
    assert all(f"cannot read {damaged}" in row["error"] for row in bad)
    assert {v for k, v in bad[0].items() if k not in ("path", "error")} == {""}
    assert bad[1]["predicted"] is bad[1]["probability"] is bad[1]["probabilities"] is None
    for row, whole, p in zip(table, objects, expected, strict=True):
        best = ("ring", "star")[p.argmax()]
        assert row["predicted"] == whole["predicted"] == best
        assert row["error"] == "" and whole["error"] is None
        assert list(whole["probabilities"]) == ["ring", "star"]
        for found in (row["ring"], row["star"]), whole["probabilities"].values():
            np.testing.assert_array_equal(np.array(list(found), np.float32), p)
        assert float(row["probability"]) == whole["probability"] == float(str(p.max()))
    assert not list(tmp_path.glob(".*"))


def test_failures_leave_what_was_there(own_run, folder, damaged, tmp_path, monkeypatch, capsys):
    command = ["predict", str(own_run.path), "--output"]
    kept = [tmp_path / name for name in ("x.csv", "x.json", "x.npz")]
    for path in kept:
        path.write_text("precious")
        command[0] = "features" if path.suffix == ".npz" else "predict"
        assert main([*command, str(path), str(damaged)]) == 2
        with monkeypatch.context() as patch:

            def fail(*args):
                raise OSError("no memory")

            patch.setattr("train.run.predictor.Predictor.batch_probabilities", fail)
            patch.setattr("train.run.predictor.Predictor.batch_features", fail)
            assert main([*command, str(path), str(folder)]) == 2
        assert "no memory" in capsys.readouterr().err
        assert path.read_text() == "precious"
    assert sorted(tmp_path.iterdir()) == kept, "nothing half-written"


MISTAKES = {
    "`output` must end in .csv or .json, got x.txt": ("FOLDER", "--output", "x.txt"),
    "`output` x.csv is a folder; name a file in it": ("FOLDER", "--output", "x.csv"),
    "is in no folder that exists; make nowhere first": ("FOLDER", "--output", "nowhere/x.csv"),
    "`top` must be at least 1, got 0": ("FOLDER", "--top", "0"),
    "leave out --top": ("FOLDER", "--top", "2", "--output", "y.csv"),
    "`images` empty has no image files (.png, .jpg": ("empty",),
    "; it has 1 .txt": ("empty",),
    "`images` - takes paths from standard input, which lists none": ("-",),
    "`images` must name at least one image file, or a folder of them": (),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_get_one_clear_line(own_run, folder, tmp_path, message, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "x.txt").touch()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    arguments = [str(folder) if a == "FOLDER" else a for a in MISTAKES[message]]
    assert main(["predict", str(own_run.path), *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert not (tmp_path / "y.csv").exists()


def test_a_class_named_like_a_column_goes_to_json(tmp_path):
    with pytest.raises(
        ValueError, match="two columns error, since a class or a number has that name; name a"
    ):
        require_predictions(tmp_path / "x.csv", ("right", "error"))
    require_predictions(tmp_path / "x.json", ("right", "error"))


@pytest.fixture(scope="module")
def turned(own_images, tmp_path_factory):
    """An image of the size of the network, and the same turned."""
    folder = tmp_path_factory.mktemp("turned")
    for i, k in enumerate((None, Image.Transpose.ROTATE_90)):
        with Image.open(own_images / "star" / "0.png") as image:
            square = image.resize((28, 28))
            # A star has the symmetry itself: only a part of it is left.
            square.paste("darkgreen", (0, 0, 28, 9))
            (square if k is None else square.transpose(k)).save(folder / f"{i}.png")
    return tuple(sorted(folder.glob("*.png")))


def test_plain_networks_are_averaged_over_poses(own_run, turned):
    plain = predict(Predict(own_run.path, turned), silent)
    assert np.abs(plain[0] - plain[1]).max() > 1e-4, "its linear layer sees places"
    even = predict(Predict(own_run.path, turned, symmetrize="p4"), silent)
    np.testing.assert_allclose(even[0], even[1], atol=1e-6)
    pixels = image_files.read_image(turned[0], (28, 28, 3), ink="light")
    poses = np.stack([np.rot90(pixels, k) for k in range(4)])
    logits = load_predictor(own_run)(poses).mean(0)
    np.testing.assert_allclose(even[0], np.asarray(jax.nn.softmax(logits)), atol=1e-5)


def test_features_are_written_in_the_order_of_the_files(own_run, turned, damaged, tmp_path, capsys):
    out = tmp_path / "features.npz"
    files = [turned[0], damaged, turned[1]]
    assert main(["features", str(own_run.path), *map(str, files), "--output", str(out)]) == 2
    told, err = capsys.readouterr()
    assert f"cannot read {damaged}" in err and "features of 2 images" in told
    with np.load(out) as found:
        assert sorted(found) == ["features", "paths", "predicted"]
        values, paths, predicted = (found[key] for key in ("features", "paths", "predicted"))
    assert paths.tolist() == [str(turned[0]), str(turned[1])]
    best = predict(Predict(own_run.path, turned), silent).argmax(-1)
    assert predicted.tolist() == [("ring", "star")[i] for i in best]
    assert values.shape[0] == 2 and values.dtype == np.float32
    # The numbers that the last layer is given.
    network = load_predictor(own_run)
    model = network.steps.model(network.params, network.stats)
    pixels = [image_files.read_image(path, network.shape, ink="light") for path in turned]
    np.testing.assert_allclose(model.linear1(values), network(np.stack(pixels)), atol=1e-4)
    assert np.abs(values[0] - values[1]).max() > 1e-3
    even = features(Features(own_run.path, turned, out, symmetrize="p4"), silent)
    np.testing.assert_allclose(even[0], even[1], atol=1e-4)
    with pytest.raises(ValueError, match=r"`output` must end in .npz, got x.csv"):
        features(Features(own_run.path, turned, out.with_name("x.csv").relative_to(tmp_path)))


def test_many_files_are_read_batch_by_batch(own_run, tmp_path, monkeypatch):
    read = []

    def read_image(path, size, **how):
        read.append(path)
        return np.full(size, int(path.stem) % 251, np.uint8)

    monkeypatch.setattr(image_files, "read_image", read_image)
    paths = [tmp_path / f"{i}.png" for i in range(1500)]
    sizes = set()

    def compute(image):
        sizes.add(len(image))
        return image[:, 0, 0]

    answers = answer_files(load_predictor(own_run), paths, compute)
    first = next(answers)
    assert len(read) <= BATCH + image_files._AHEAD < len(paths)
    found = [first, *answers]
    assert [answer.path for answer in found] == paths and sizes == {BATCH}
    assert [int(answer.row[0]) for answer in found] == [i % 251 for i in range(1500)]


def test_a_network_is_traced_once_for_all_batches(own_run, monkeypatch):
    network = load_predictor(own_run)
    traced = []
    prepare = type(network.steps.prepare).__call__

    def counted(self, *args):
        traced.append(args)
        return prepare(self, *args)

    monkeypatch.setattr(type(network.steps.prepare), "__call__", counted)
    image = network.filled([np.zeros(network.shape, np.uint8)], 4)
    for _ in range(3):
        network.batch_probabilities(image)
        network.batch_features(image)
    assert len(traced) == 2, "one for each of the two functions"
