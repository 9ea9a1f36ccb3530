"""Runs that predict numbers, begun as users do, against what scikit-learn says of them."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import mean_absolute_error, r2_score

from gconv_jax.models import load_pretrained, pretrained_config
from tests.train.runs import exported_answers, read_list
from train.__main__ import _recipe_of, main
from train.recipes.typed_options import configure
from train.run.source_weights import read_weights
from train.run_folder.folder import Run

NAMES = ("radius", "light")
NUMBERS = ["--task", "regression", "--targets", *NAMES, "--size", "28"]
NUMBERS += ["--batch-size", "8", "--parallel", "jit"]
OPTIONS = [*NUMBERS, "--model", "p4cnn", "--width", "4"]
QUICK = [*NUMBERS, "--model", "p4-lenet", "--report", "none"]


def draw_disks(folder: Path, count: int, seed: int = 0, *, shuffled: bool = False) -> Path:
    """Draw disks, and list their radius in pixels and their brightness."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    y, x = np.mgrid[:28, :28]
    rows = []
    for i in range(count):
        (cy, cx), radius, light = rng.uniform(10, 17, 2), rng.uniform(3, 9), rng.uniform(90, 250)
        disk = light / (1 + np.exp(2 * (np.hypot(y - cy, x - cx) - radius)))
        pixels = (disk + rng.normal(0, 3, disk.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append((f"{i}.png", radius, light))
    numbers = [row[1:] for row in rows]
    if shuffled:
        numbers = np.random.default_rng(1).permutation(numbers).tolist()
    write_list(folder / "list.csv", [(row[0], *n) for row, n in zip(rows, numbers, strict=True)])
    return folder


def write_list(path: Path, rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", *NAMES), *rows])


def numbers(rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([[float(row[name]) for name in NAMES] for row in rows])


@pytest.fixture(scope="module")
def disks(tmp_path_factory) -> Path:
    return draw_disks(tmp_path_factory.mktemp("numbers") / "disks", 160)


@pytest.fixture(scope="module")
def measured(disks) -> Run:
    path = disks.parent / "run"
    begun = ["--data", str(disks / "list.csv"), *OPTIONS, "--epochs", "6", "--angles", "4"]
    begun += ["--learning-rate", "3e-3"]
    assert main([*begun, "--run", str(path)]) == 0
    return Run.open(path)


@pytest.fixture(scope="module")
def tested(measured, disks) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the test images, as they are in the list, and what `predict` says of them."""
    rows = map(json.loads, (measured.path / "images.jsonl").read_text().splitlines())
    files = [row["file"] for row in rows if row["split"] == "test"]
    out = measured.path.parent / "test.csv"
    paths = [str(disks / name) for name in files]
    assert main(["predict", str(measured.path), *paths, "--output", str(out)]) == 0
    true = {row["path"]: row for row in read_list(disks / "list.csv")}
    return numbers([true[name] for name in files]), numbers(read_list(out))


def test_the_results_are_those_of_scikit_learn(measured, tested):
    true, predicted = tested
    results, scale = measured.results, np.array(measured.results["input"]["scale"])
    assert results["input"]["names"] == list(NAMES) and len(true) == results["test_images"] == 32
    errors = mean_absolute_error(true, predicted, multioutput="raw_values")
    np.testing.assert_allclose(results["by_target"]["mae"], errors, rtol=1e-3)
    assert results["test_error"] == pytest.approx((errors / scale).mean(), rel=1e-3)
    assert results["r2"] == pytest.approx(r2_score(true, predicted), rel=1e-2)
    assert results["error_at_angle"][0] == pytest.approx(results["test_error"], rel=1e-4)
    assert results["r2"] > 0.8, "it has learned"
    # Invariant at quarter turns, of four angles.
    np.testing.assert_allclose(results["error_at_angle"], results["test_error"], rtol=1e-4)


def test_numbers_that_mean_nothing_are_not_learned(tmp_path):
    """The negative control: the same images with the numbers of others."""
    folder = draw_disks(tmp_path / "mixed", 80, shuffled=True)
    begun = ["--data", str(folder / "list.csv"), *QUICK, "--epochs", "2"]
    assert main([*begun, "--loss", "huber", "--run", str(tmp_path / "run")]) == 0
    assert Run.open(tmp_path / "run").results["r2"] < 0.2


def test_the_report_has_numbers_and_no_classes(measured):
    text = (measured.path / "report.md").read_text(encoding="utf-8")
    assert "| test relative error | R2" in " ".join(text.split())
    assert "Confusion" not in text and "class" not in text.replace("classes", "")
    for title in ("Numbers", "Predicted and right numbers", "The largest errors",
                  "Error against rotation angle"):  # fmt: skip
        assert f"\n## {title}\n" in text
    assert "squared error relative to the deviations" in text
    for name in ("numbers.png", "largest_errors.png", "error_against_angle.png", "predictions.png"):
        assert (measured.path / name).stat().st_size > 1000
    page = (measured.path / "report.html").read_text(encoding="utf-8")
    assert '"ranges":[[' in page and '"numbers":[' in page and "no page was written" not in page
    rows = measured.results["largest_errors"]
    assert rows and all(row["file"].endswith(".png") for row in rows)
    json.dumps(measured.results, allow_nan=False)


def test_predictions_are_numbers(measured, disks, tmp_path, capsys):
    files, run = [str(disks / f"{i}.png") for i in range(5)], str(measured.path)
    for suffix in ("csv", "json"):
        assert main(["predict", run, *files, "--output", str(tmp_path / f"new.{suffix}")]) == 0
    rows, objects = read_list(tmp_path / "new.csv"), json.loads((tmp_path / "new.json").read_text())
    assert list(rows[0]) == ["path", "error", *NAMES]
    assert "radius from" in capsys.readouterr().out
    assert main(["predict", run, *files]) == 0
    lines = capsys.readouterr().out.splitlines()
    for row, found, line in zip(rows, objects, lines, strict=True):
        assert found["numbers"] == {name: float(row[name]) for name in NAMES}
        said = ", ".join(f"{name} {float(row[name]):.4g}" for name in NAMES)
        assert line.endswith(f".png: {said}")
    assert main(["features", run, *files, "--output", str(tmp_path / "new.npz")]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "new.npz")["predicted"], numbers(rows), rtol=1e-4)
    assert main(["predict", run, files[0], "--top", "2"]) == 2
    assert "`top` is for classes" in capsys.readouterr().err


def test_new_images_are_evaluated(measured, tmp_path, capsys):
    folder, run = draw_disks(tmp_path / "new", 12, seed=7), str(measured.path)
    assert main(["evaluate", run, "--data", str(folder / "list.csv")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert main(["predict", run, str(folder), "--output", str(tmp_path / "new.csv")]) == 0
    true = {row["path"]: row for row in read_list(folder / "list.csv")}
    rows = read_list(tmp_path / "new.csv")
    label = numbers([true[Path(row["path"]).name] for row in rows])
    errors = np.abs(numbers(rows) - label).mean(0)
    share = (errors / measured.results["input"]["scale"]).mean()
    assert f"is a new set of 12 images: relative error {100 * share:.2f} %" in printed
    assert "| target | mean absolute error | root mean square | bias | R2 |" in printed
    # The same images in a file of arrays, which names the numbers itself, in capitals here.
    pixels = np.stack([np.asarray(Image.open(folder / name)) for name in sorted(true)])
    arrays = {"labels": numbers([true[name] for name in sorted(true)])}
    names = [name.upper() for name in NAMES]
    np.savez(tmp_path / "new.npz", images=pixels, **arrays, target_names=names)
    assert main(["evaluate", run, "--data", str(tmp_path / "new.npz")]) == 0
    assert f"12 images: relative error {100 * share:.2f} %" in capsys.readouterr().out
    np.savez(tmp_path / "large.npz", images=pixels, labels=1e300 * arrays["labels"])
    for place, said in (
        (tmp_path / "large.npz", "labels has numbers that are too large for float32"),
        (folder, f"`data` {folder} is a folder, which says the class of each image"),
    ):
        assert main(["evaluate", run, "--data", str(place)]) == 2
        assert said in capsys.readouterr().err
    assert main(["evaluate", run, "--split", "validation"]) == 0
    assert "validation relative error" in capsys.readouterr().out


def test_another_program_says_the_same_numbers(measured, disks, tmp_path, capsys):
    files = [disks / f"{i}.png" for i in range(3)]
    found, about, last = exported_answers(measured, files, tmp_path / "net.stablehlo", capsys)
    assert about["output"]["is"] == "numbers" and about["labels"].startswith("none")
    table = tmp_path / "new.csv"
    assert main(["predict", str(measured.path), *map(str, files), "--output", str(table)]) == 0
    np.testing.assert_allclose(found, numbers(read_list(table)), rtol=1e-4)
    said = eval(last, {"about": about, "numbers": found})
    assert said == [dict(zip(NAMES, row, strict=True)) for row in found.tolist()]


def test_a_saved_network_predicts_the_same_numbers(measured, disks, tmp_path, capsys):
    saved, files = str(tmp_path / "saved"), [str(disks / f"{i}.png") for i in range(3)]
    assert main(["export", str(measured.path), "--format", "pretrained", "--out", saved]) == 0
    found = []
    for place in (str(measured.path), saved):
        assert main(["predict", place, *files, "--output", str(tmp_path / "new.csv")]) == 0
        assert main(["features", place, *files, "--output", str(tmp_path / "new.npz")]) == 0
        with np.load(tmp_path / "new.npz") as arrays:
            found.append((numbers(read_list(tmp_path / "new.csv")), arrays["features"]))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-5)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-5, atol=1e-6)
    model = load_pretrained(saved)
    pixels = np.stack([np.asarray(Image.open(path))[..., None] for path in files])
    np.testing.assert_allclose(model(pixels), found[0][0], rtol=1e-4)
    np.testing.assert_allclose(model.model.std, measured.results["input"]["scale"], rtol=1e-6)
    config, results = pretrained_config(saved), measured.results
    assert config["classes"] == list(NAMES)
    assert config["figures"] == {
        "test relative error": results["test_error"],
        "test R2": results["r2"],
        **{
            f"test mean absolute error of {name}": mae
            for name, mae in zip(NAMES, results["by_target"]["mae"], strict=True)
        },
    }
    card = (tmp_path / "saved" / "README.md").read_text()
    assert "| numbers | radius (in training " in card and "| classes |" not in card
    capsys.readouterr()
    assert main(["evaluate", saved, "--data", str(disks / "list.csv")]) == 0
    assert "radius: mean absolute error" in capsys.readouterr().out
    # Training further starts from it, as from the run.
    config = configure("folder", [*NUMBERS, "--data", str(disks / "list.csv"), "--init", saved])
    theirs, ours = (read_weights(place).arrays for place in (saved, str(measured.path)))
    assert (config.model, config.width) == ("p4cnn", 4) and theirs.keys() == ours.keys()
    assert all(np.array_equal(theirs[name], ours[name]) for name in ours)


def test_a_run_goes_on_with_the_numbers_that_it_began_with(disks, tmp_path, capsys):
    """It is resumed; not so if an image has other numbers now."""
    folder = shutil.copytree(disks, tmp_path / "disks")
    begun = ["--data", str(folder / "list.csv"), *QUICK, "--seeds", "2"]
    begun += ["--epochs", "1", "--schedule", "constant", "--patience", "3", "--metric", "loss"]
    assert main([*begun, "--run", str(tmp_path / "runs")]) == 0
    assert "over 2 seeds, R2 " in capsys.readouterr().out
    run = Run.open(tmp_path / "runs" / "seed1")
    rows = [(row["path"], row["radius"], row["light"]) for row in read_list(folder / "list.csv")]
    write_list(folder / "list.csv", [(rows[0][0], 5, 5), *rows[1:]])
    assert main(["--resume", str(run.path), "--epochs", "2"]) == 2
    assert f"relabeled ({rows[0][0]})" in capsys.readouterr().err
    write_list(folder / "list.csv", rows)
    assert main(["--resume", str(run.path), "--epochs", "2"]) == 0
    assert run.results["epochs"] == 2


def test_a_file_of_numbers_needs_no_name_of_a_recipe(tmp_path, capsys):
    """Its labels are no classes, which the command line has to know before it opens the file."""
    for side, recipe in (((8, 8), "folder"), ((20, 20, 20), "folder-voxels")):
        images, labels = np.zeros((4, *side), np.uint8), np.linspace(0, 1, 4)
        np.savez(tmp_path / "x.npz", images=images, labels=labels)
        assert _recipe_of(["--data", str(tmp_path / "x.npz"), "--task", "regression"]) == recipe
    assert "has volumes: this is the recipe folder-voxels" in capsys.readouterr().out
