"""Images of one's own: what is found in a folder, how it is split, and runs on it."""

import collections
import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.train.runs import draw_shapes
from train.__main__ import main
from train.config import Config
from train.data.available_memory import _of_container, available_memory
from train.data.class_folders import list_images
from train.data.image_folder import load_folder
from train.data.load import load_data
from train.data.provenance import IMAGES
from train.report.html_page import saved_frames
from train.run.predictor import load_run
from train.run_folder.folder import Run

OF_FOLDER = Config(dataset="folder", image_size=16, batch_size=2)


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def paint(folder: Path, **images) -> Path:
    """Images of one color, by ``class__name`` without a suffix."""
    for name, (size, color) in images.items():
        path = folder / f"{name.replace('__', '/')}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L" if isinstance(color, int) else "RGB", size, color).save(path)
    return folder


def splits(folder: Path, fraction: float = 0.25) -> dict[str, set[str]]:
    files = list_images(folder, fraction).files
    assert len({file.name for file in files}) == len(files)
    return {s: {f.name for f in files if f.split == s} for s in {f.split for f in files}}


def test_the_split_is_by_hashes_of_names_wherever_the_folder_is(tmp_path):
    names = [f"{c}/{i}.png" for c, count in (("b", 40), ("a", 20)) for i in range(count)]
    here, there = (touch(tmp_path / where, *names) for where in ("here", "there/deep"))
    found = splits(here)
    assert found == splits(there) and found["train"] | found["test"] == set(names)
    for c, count in (("b", 10), ("a", 5)):
        of_class = [name for name in names if name.startswith(f"{c}/")]
        smallest = sorted(of_class, key=lambda n: hashlib.sha256(n.encode()).hexdigest())[:count]
        assert {n for n in found["test"] if n in of_class} == set(smallest)
    assert list_images(here, 0.25).names == ("a", "b")
    # A negative control: other names are split otherwise.
    for path in here.glob("*/*.png"):
        path.rename(path.with_name(f"x{path.name}"))
    assert {n.replace("x", "") for n in splits(here)["test"]} != found["test"]


def test_any_first_or_last_part_has_the_classes_in_proportion(tmp_path):
    names = [f"{c}/{i}.jpg" for c, n in (("a", 90), ("b", 30), ("c", 3)) for i in range(n)]
    listing = list_images(touch(tmp_path, *names), 0.34)
    labels = np.array([file.label for file in listing.files if file.split == "train"])
    shares = np.bincount(labels) / len(labels)
    for count in range(1, len(labels)):
        for part in (labels[:count], labels[-count:]):
            assert (np.abs(np.bincount(part, minlength=3) - count * shares) <= 2).all()
    assert (np.diff(labels) != 0).sum() > 20, "mixed, not one class after another"


def test_train_test_and_val_are_taken_as_they_are(tmp_path):
    names = ("train/a/1.png", "train/b/deep/down/2.JPG", "test/a/3.webp", "test/b/4.png")
    folder = touch(tmp_path, *names, "val/b/5.png")
    listing = list_images(folder, 0.5)
    assert splits(folder) == {
        "train": {"train/a/1.png", "train/b/deep/down/2.JPG"},
        "test": {"test/a/3.webp", "test/b/4.png"},
        "validation": {"val/b/5.png"},
    }
    assert listing.own_test
    assert all("ab"[f.label] == f.name.split("/")[1] for f in listing.files)
    assert "val has no images of a" in listing.notes[0]
    # Without test/ a part of train/ is.
    shutil.rmtree(folder / "test")
    touch(folder, "train/a/6.png", "train/b/7.png")
    assert {len(files) for files in splits(folder, 0.5).values()} == {2, 1}
    assert not list_images(folder, 0.5).own_test


def test_what_is_hidden_or_no_image_is_left_out_and_counted(tmp_path):
    folder = touch(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png", "a/notes.txt", "b/x.TXT")
    touch(
        folder, ".git/x.png", "a/.DS_Store", "__MACOSX/a/1.png", "stray.png", "readme", "b/x.heic"
    )
    (folder / "a" / "again").symlink_to(folder / "a")  # for ever, if it were followed
    listing = list_images(folder, 0.5)
    assert len(listing.files) == 4 and listing.names == ("a", "b")
    (note,) = listing.notes
    assert "ignored 5 files" in note
    for kind in ("2 .txt", "1 beside the classes", "1 without a suffix", "1 .heic"):
        assert kind in note


def test_a_class_may_be_named_train(tmp_path):
    folder = touch(tmp_path, "train/1.png", "train/2.png", "car/1.png", "car/2.png")
    assert list_images(folder, 0.5).names == ("car", "train")


MISTAKES = {
    "does not exist; it must be a folder with a folder for each class": (),
    "x must have a folder for each of two or more classes; there is none": ("x/readme.txt",),
    "two or more classes; there is only a": ("x/a/1.png", "x/a/2.png"),
    "has folders without image files: b, c; add": ("x/a/1.png", "x/b/1.txt", "x/c/.hidden.png"),
    "x/test has classes that .*x/train has not: c": (
        *("x/train/a/1.png", "x/train/b/1.png", "x/test/a/1.png", "x/test/c/1.png"),
    ),
    "x/test has no folder for each class": ("x/train/a/1.png", "x/train/b/1.png", "x/test/1.png"),
    "x/train has no folder for each class": ("x/train/1.png", "x/test/1.png"),
    "x has one image of b: with no test images of your own": (
        "x/a/1.png",
        "x/a/2.png",
        "x/b/1.png",
    ),
    "is no folder, CSV file or .npz file": ("x",),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_folders_that_cannot_be_trained_on(tmp_path, message):
    touch(tmp_path, *MISTAKES[message])
    with pytest.raises(ValueError, match=message):
        list_images(tmp_path / "x", 0.2)


def test_images_are_fitted_without_distortion_on_their_own_ground(tmp_path):
    red, blue = (200, 0, 0), (0, 0, 200)
    wide = Image.new("RGB", (40, 20), red)
    wide.paste(blue, (10, 5, 30, 15))
    folder = paint(tmp_path, a__1=((9, 9), red), b__1=((5, 30), 7), b__2=((70, 7), 7))
    wide.save(folder / "a" / "2.png")
    data = load_folder(dataclasses.replace(OF_FOLDER, data=folder, test_fraction=0.5))
    images = np.concatenate([data.train.image, data.test.image])
    labels = np.concatenate([data.train.label, data.test.label])
    assert images.shape == (4, 16, 16, 3) and images.dtype == np.uint8 and labels.sum() == 2
    assert (images[labels == 1] == 7).all(), "gray images on their own ground"
    (small,) = (x for x in images if (x == red).all())
    (fitted,) = (x for x in images if x[8, 8, 2] == 200)
    assert (fitted[[0, 3, 12, 15]] == red).all() and (fitted[7:9, 6:10] == blue).all()
    assert (fitted[8, 0] == red).all() and small.shape == (16, 16, 3)


@pytest.mark.parametrize(("channels", "color", "expected"), [
    ("auto", 200, 1), ("auto", (200, 200, 200), 1), ("auto", (200, 0, 0), 3),
    ("colour", 200, 3), ("grey", (200, 0, 0), 1),
])  # fmt: skip
def test_gray_if_all_images_are(tmp_path, channels, color, expected):
    folder = paint(tmp_path, a__1=((9, 9), 100), a__2=((9, 9), 250), b__1=((9, 9), 5))
    paint(folder, b__2=((9, 9), color))
    config = dataclasses.replace(OF_FOLDER, data=folder, channels=channels, test_fraction=0.5)
    data = load_folder(config)
    assert data.train.image.shape[-1] == data.test.image.shape[-1] == expected
    # Bright ground stays bright: images are not digits to be inverted.
    assert max(data.train.image.max(), data.test.image.max()) == 250


def test_files_that_cannot_be_read_are_named_and_counted(tmp_path):
    folder = paint(tmp_path, **{f"{c}__{i}": ((9, 9), 50) for c in "ab" for i in range(4)})
    touch(folder, *(f"a/bad{i:02}.png" for i in range(12)))
    config = dataclasses.replace(OF_FOLDER, data=folder)
    data = load_folder(config)
    assert len(data.train.label) + len(data.test.label) == 8
    note = next(note for note in data.notes if "skipped" in note)
    assert "skipped 12 files that cannot be read" in note and note.endswith("and 2 more")
    assert note.count("(it is empty)") == 10
    (folder / "b").rename(tmp_path / "c")
    touch(folder, "b/1.png", "b/2.png")
    with pytest.raises(ValueError, match=r"no \w+ image of b in .* can be read; skipped 14 files"):
        load_folder(config)


def test_test_images_that_are_trained_on_are_told(tmp_path):
    folder = paint(tmp_path, a__1=((9, 9), 1), a__2=((9, 9), 1), b__1=((9, 9), 2), b__2=((9, 9), 3))
    data = load_folder(dataclasses.replace(OF_FOLDER, data=folder, test_fraction=0.5))
    assert "1 of the 2 test images are equal to a training image" in data.notes[-1]


def test_images_that_do_not_fit_are_refused_before_they_are_read(tmp_path):
    """None of these files can be read, and that is not what is said."""
    if available_memory() is None:
        pytest.skip("the system does not tell how much memory there is")
    folder = touch(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    config = dataclasses.replace(OF_FOLDER, data=folder, image_size=2**20)
    message = (
        r"4 images of 1048576 .* smaller --image-size, now 1048576, or leave .* --loader grain"
    )
    with pytest.raises(ValueError, match=message):
        load_folder(config)


def test_the_limits_of_containers(tmp_path):
    assert _of_container(tmp_path) == []
    (tmp_path / "memory.max").write_text("max\n")
    assert _of_container(tmp_path) == []
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("2000\n")
    assert _of_container(tmp_path) == [3000, 2000]


def test_shares_are_held_out_for_validation(own_images, tmp_path):
    config = dataclasses.replace(OF_FOLDER, data=own_images, validation=0.25)
    data = load_data(config)
    assert [len(s.label) for s in (data.train, data.validation, data.test)] == [20, 6, 6]
    assert (np.bincount(data.validation.label) == 3).all() and data.classes == 2
    folder = shutil.copytree(own_images, tmp_path / "split" / "train")
    shutil.move(folder / "ring" / "0.png", touch(folder.parent, "val/ring/x").with_name("1.png"))
    with pytest.raises(ValueError, match="has folders without image files: ring"):
        load_data(dataclasses.replace(config, data=folder.parent))
    with pytest.raises(ValueError, match="whiten takes a matrix of 49,152 x 49,152 for images of"):
        load_data(dataclasses.replace(config, image_size=128, preprocess="whiten"))
    with pytest.raises(ValueError, match="needs the folder of your images: add --data DIR"):
        load_data(dataclasses.replace(config, data=None))


def test_a_run_knows_its_classes_and_files(own_run, own_images):
    results, config = own_run.results, own_run.config
    assert config.preset == "folder" and config.data == own_images.absolute()
    assert (config.model, config.group, config.image_size) == ("lenet", "p4", 28)
    assert results["input"]["names"] == ["ring", "star"]
    assert (results["train_images"], results["validation_images"]) == (23, 3)
    rows = [json.loads(line) for line in (own_run.path / IMAGES).read_text().splitlines()]
    assert {own_images / row["file"] for row in rows} == set(own_images.glob("*/*.*"))
    assert all(row["bytes"] == (own_images / row["file"]).stat().st_size for row in rows)
    counts = collections.Counter(row["split"] for row in rows)
    assert counts == {"train": 23, "validation": 3, "test": results["test_images"]}
    shown, tested = saved_frames(own_run), [r["file"] for r in rows if r["split"] == "test"]
    assert all(i["file"] == tested[i["index"]] for i in shown["inputs"]["images"]), "on the slider"
    report = (own_run.path / "report.md").read_text()
    assert "p4 on the images in shapes" in report and results["fingerprint"] in report
    assert "test images: 0.2 of each class, chosen by hashes of the file names" in report
    with Image.open(own_run.path / "predictions.png") as image:
        assert np.asarray(image.convert("L")).std() > 5


def test_evaluate_predict_and_export_such_a_run(own_run, own_images, tmp_path, capsys):
    error = f"{100 * own_run.results['test_error']:.2f} %"
    moved = shutil.copytree(own_images, tmp_path / "moved")
    assert main(["evaluate", str(own_run.path), "--data", str(moved)]) == 0
    out = capsys.readouterr().out
    assert error in out and "are not those" not in out
    files = sorted(moved.glob("*/*.*"))
    assert main(["predict", str(own_run.path), *map(str, files)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 32 and all({"ring", "star"} <= set(line.split()) for line in lines)
    # The same pixels as in training, also of bright ones: what is counted is the test error.
    test = [json.loads(line) for line in (own_run.path / IMAGES).read_text().splitlines()]
    test = {str(moved / row["file"]) for row in test if row["split"] == "test"}
    answers = [line.split(": ") for line in lines if line.split(": ")[0] in test]
    wrong = [name for name, answer in answers if not answer.startswith(Path(name).parent.name)]
    assert len(wrong) / len(test) == own_run.results["test_error"]
    assert main(["export", str(own_run.path), "--out", str(tmp_path / "network")]) == 0
    assert "the classes are ring, star" in capsys.readouterr().out


def test_a_run_goes_on_with_the_same_files_and_refuses_others(own_run, tmp_path, capsys):
    folder = draw_shapes(tmp_path / "shapes", 16)
    run = Run(shutil.copytree(own_run.path, tmp_path / "run"))
    config = run.config
    Image.new("RGB", (40, 40), "red").save(folder / "star" / "new.png")
    (folder / "ring" / "3.png").rename(tmp_path / "3.png")
    longer = ["--resume", str(run.path), "--epochs", "2", "--data", str(folder)]
    assert main(longer) == 2
    err = capsys.readouterr().err
    assert "1 of 6 test images gone (ring/3.png); 1 new, not used (star/new.png)" in err
    assert run.results == own_run.results and run.config == config, "nothing was changed"
    (tmp_path / "3.png").rename(folder / "ring" / "3.png")
    assert main(longer) == 0
    out = capsys.readouterr().out
    assert "continuing after epoch 1" in out and "1 new, not used (star/new.png)" in out
    assert run.results["epochs"] == 2 and run.results["train_images"] == 23
    assert run.config == dataclasses.replace(config, epochs=2, data=folder), "where they are now"
    assert (run.path / IMAGES).read_text() == (own_run.path / IMAGES).read_text()


def test_a_smaller_folder_is_evaluated_on_test_images_alone(own_run, own_images, tmp_path, capsys):
    folder = Path(shutil.copytree(own_images, tmp_path / "fewer"))
    for file in sorted(folder.glob("*/1*.*")):
        file.unlink()
    rows = [json.loads(line) for line in (own_run.path / IMAGES).read_text().splitlines()]
    left = [folder / r["file"] for r in rows if r["split"] == "test"]
    left = [path for path in left if path.exists()]
    assert 0 < len(left) < 6
    assert main(["predict", str(own_run.path), *map(str, left)]) == 0
    lines = capsys.readouterr().out.splitlines()
    answers = dict(zip(left, (line.split(": ")[1] for line in lines), strict=True))
    wrong = [path for path, answer in answers.items() if not answer.startswith(path.parent.name)]
    command = ["evaluate", str(own_run.path), "--data", str(folder)]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert f"{6 - len(left)} of 6 test images gone" in out
    assert f"{100 * len(wrong) / len(left):.2f} %" in out
    # A negative control: without the record other images are evaluated, and that is said.
    run = Run(shutil.copytree(own_run.path, tmp_path / "run"))
    (run.path / IMAGES).unlink()
    session, _ = load_run(run, data=folder)
    assert len(session.data.test.label) != len(left)
    assert "split anew, and test images may have been trained on" in session.data.folder.notes[-1]
    assert main([*command, "--split", "validation"]) == 0
    assert "validation error" in capsys.readouterr().out
    for row in rows:
        if row["split"] == "validation":
            (folder / row["file"]).unlink(missing_ok=True)
    assert main([*command, "--split", "validation"]) == 2
    assert "the validation images of" in capsys.readouterr().err
