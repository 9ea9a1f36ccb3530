"""A finished network on new labelled images: folders of classes that are none of its run's own."""

import shutil

import numpy as np
import pytest
from PIL import Image

from train.__main__ import main
from train.commands.evaluate import Evaluate, evaluate
from train.commands.predict import Predict, predict
from train.config import Config
from train.data.image_files import read_images
from train.data.labelled_folder import is_new_set, list_labelled
from train.data.provenance import IMAGES
from train.run.predictor import load_predictor
from train.run_folder.folder import Run


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def new_images(own_images, tmp_path_factory):
    """Images that the run has not seen, some of them under a wrong class, so that there are
    errors."""
    folder = tmp_path_factory.mktemp("new") / "set"
    for i, path in enumerate(sorted(own_images.glob("*/*.*"))[::3]):
        label = "ring" if i % 4 == 0 else path.parent.name
        (folder / label).mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.transpose(Image.Transpose.ROTATE_90).save(folder / label / f"new{i}.png")
    return folder


def expected(run: Run, folder, **options) -> dict:
    """The figures by the answers of `predict`."""
    files = sorted(folder.glob("*/*.png"))
    best = predict(Predict(run.path, tuple(files), **options), silent).argmax(-1)
    label = np.array([("ring", "star").index(path.parent.name) for path in files])
    wrong = best != label
    by_class = {name: float(wrong[label == i].mean()) for i, name in enumerate(("ring", "star"))}
    return {
        "test_images": len(files),
        "test_error": pytest.approx(wrong.mean()),
        "class_mean_accuracy": pytest.approx(1 - np.mean(list(by_class.values()))),
        "error_by_class": pytest.approx(by_class),
    }


def measured(figures: dict) -> dict:
    """The figures that `expected` has, with the errors of the classes that have images."""
    names = ("test_images", "test_error", "class_mean_accuracy")
    recall = zip(("ring", "star"), figures["by_class"]["recall"], strict=True)
    errors = {name: 1 - share for name, share in recall if share is not None}
    return {name: figures[name] for name in names} | {"error_by_class": errors}


def test_a_new_set_is_measured(own_run, new_images, capsys):
    found = evaluate(Evaluate(own_run.path, data=new_images))
    figures = expected(own_run, new_images)
    assert measured(found) == figures and found["test_error"] > 0
    assert found["class_mean_accuracy"] != pytest.approx(1 - found["test_error"]), "a control"
    out = capsys.readouterr().out
    assert f"is a new set of 11 images: error {100 * found['test_error']:.2f} %, class-mean" in out
    for name, error in measured(found)["error_by_class"].items():
        count = len(list((new_images / name).iterdir()))
        (line,) = [line for line in out.splitlines() if line.startswith(f"| {name}")]
        assert line.split("|")[2].strip() == str(count)
        assert line.split("|")[3].strip() == f"{100 * error:.2f} %"
    assert "warning" not in out and "test error" not in out
    even = evaluate(Evaluate(own_run.path, data=new_images, symmetrize="p4m"), silent)
    assert measured(even) == expected(own_run, new_images, symmetrize="p4m")


def test_some_classes_or_test_alone_are_enough(own_run, new_images, tmp_path, capsys):
    whole = evaluate(Evaluate(own_run.path, data=new_images), silent)
    shutil.copytree(new_images, tmp_path / "splits" / "test")
    assert evaluate(Evaluate(own_run.path, data=tmp_path / "splits"), silent) == whole
    shutil.copytree(new_images / "star", tmp_path / "splits" / "train" / "star")
    capsys.readouterr()
    assert evaluate(Evaluate(own_run.path, data=tmp_path / "splits")) == whole
    told = f"only {tmp_path / 'splits' / 'test'} is evaluated, not train/"
    assert told in capsys.readouterr().out
    shutil.copytree(new_images / "star", tmp_path / "one" / "star")
    (tmp_path / "one" / "star" / "bad.png").write_text("no image")
    (tmp_path / "one" / "stray.png").write_text("no image")
    one = evaluate(Evaluate(own_run.path, data=tmp_path / "one"))
    errors = [measured(found)["error_by_class"] for found in (one, whole)]
    assert errors[0] == {"star": errors[1]["star"]}
    out = capsys.readouterr().out
    assert "skipped 1 file: cannot read" in out and "1 beside the classes" in out
    assert "no images of ring" in out


def test_images_that_were_trained_on_are_told(own_run, own_images, new_images, tmp_path, capsys):
    folder = shutil.copytree(new_images, tmp_path / "set")
    rows = [line for line in (own_run.path / IMAGES).read_text().splitlines() if '"train"' in line]
    name = rows[0].split('"file": "')[1].split('"')[0]
    shutil.copy(own_images / name, folder / "ring" / "again.png")
    taken = own_images / "star" / "3.png"
    shutil.copy(folder / "star" / sorted(p.name for p in (folder / "star").iterdir())[0],
                folder / "star" / taken.name)  # fmt: skip
    assert evaluate(Evaluate(own_run.path, data=folder))["test_images"] == 13
    out = capsys.readouterr().out
    assert "warning: 1 of 13 images is an image that the run was trained or validated on" in out
    assert "again.png" in out
    assert "have the names of images of" in out and "(star/3.png)" in out


def test_own_images_that_moved_are_told_from_new_ones(own_run, own_images, new_images, tmp_path):
    assert is_new_set(own_run, new_images)
    assert not is_new_set(own_run, own_images)
    few = tmp_path / "few"
    shutil.copytree(new_images, few)
    assert is_new_set(own_run, few)
    # Numbers are names of many files; only the same content makes them the same.
    shutil.copy(next((new_images / "ring").iterdir()), few / "ring" / "0.png")
    assert is_new_set(own_run, few)
    shutil.copy(own_images / "ring" / "0.png", few / "ring" / "0.png")
    assert not is_new_set(own_run, few)
    # Runs of earlier versions recorded nothing.
    old = Run(shutil.copytree(own_run.path, tmp_path / "old"))
    (old.path / IMAGES).unlink()
    assert not is_new_set(old, new_images)
    # For a run on a known data set a folder is never its own.
    digits = Run.create(Config(dataset="digits"), tmp_path / "digits")
    assert is_new_set(digits, new_images)
    with pytest.raises(ValueError, match=r"`data` .*nowhere does not exist; it must be a folder"):
        is_new_set(digits, tmp_path / "nowhere")


MISTAKES = {
    r"`data` set has moon, sun, and the network knows the classes ring, star; folders": (
        *("sun/1.png", "moon/1.png", "ring/1.png"),
    ),
    r"set/test has moon, and the network knows": ("test/moon/1.png",),
    r"or those in test/; it has train/, val/; name one of them, such as --data set/train": (
        *("train/ring/1.png", "val/ring/1.png"),
    ),
    r"`data` set has no folder of a class, and the network knows": ("1.png",),
    r"`data` set has no image files in its folders": ("ring/x.txt",),
    r"no image in set can be read\n  skipped 1 file: cannot read set/ring/1.png": ("ring/1.png",),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_folders_that_cannot_be_evaluated(own_run, tmp_path, monkeypatch, message, capsys):
    monkeypatch.chdir(tmp_path)
    for name in MISTAKES[message]:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("no image")
    assert main(["evaluate", str(own_run.path), "--data", "set"]) == 2
    assert message.replace(r"\n", "\n") in capsys.readouterr().err


def test_held_out_images_are_those_of_the_run(own_run, new_images, capsys):
    command = ["evaluate", str(own_run.path), "--data", str(new_images), "--split", "validation"]
    assert main(command) == 2
    assert "`split` validation goes with the run's own images" in capsys.readouterr().err


def test_a_class_may_be_named_test(tmp_path):
    for name in ("test", "train"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    found = list_labelled(tmp_path, ("car", "test", "train"))
    assert found.labels == [1, 2] and [p.parent.name for p in found.paths] == ["test", "train"]


def test_a_list_and_arrays_are_new_sets_too(own_run, new_images, tmp_path, capsys):
    """They have the same images as the folder, and so the same figures."""
    whole = evaluate(Evaluate(own_run.path, data=new_images), silent)
    files = sorted(new_images.glob("*/*.png"))
    rows = [f"{path.relative_to(new_images).as_posix()},{path.parent.name}" for path in files]
    (new_images / "new.csv").write_text("\n".join(["path,label", *rows]))
    try:
        assert evaluate(Evaluate(own_run.path, data=new_images / "new.csv"), silent) == whole
        others = [f"{row.replace('.png', '-train.png')},train" for row in rows]
        rows = ["path,label,split", *(f"{row},test" for row in rows), *others]
        (new_images / "new.csv").write_text("\n".join(rows))
        assert evaluate(Evaluate(own_run.path, data=new_images / "new.csv")) == whole
        assert "only the test images of" in capsys.readouterr().out
    finally:
        (new_images / "new.csv").unlink()
    arrays = {"test_labels": np.array([path.parent.name for path in files])}
    network = load_predictor(own_run)
    arrays["test_images"] = np.stack([*read_images(files, network.shape, network.reading)])
    arrays |= {f"train_{what}": arrays[f"test_{what}"][:2] for what in ("images", "labels")}
    np.savez(tmp_path / "new.npz", **arrays)
    capsys.readouterr()
    assert evaluate(Evaluate(own_run.path, data=tmp_path / "new.npz")) == whole
    assert "only the test images of" in capsys.readouterr().out
    np.savez(tmp_path / "other.npz", images=arrays["test_images"], labels=np.arange(len(files)) % 3)
    with pytest.raises(
        ValueError, match="has 0, 1, 2, and the network knows the classes ring, star"
    ):
        evaluate(Evaluate(own_run.path, data=tmp_path / "other.npz"), silent)
