"""Runs on images with several labels, begun as users do, against what scikit-learn says of them."""

import csv
import dataclasses
import itertools
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.metrics import average_precision_score, f1_score, hamming_loss, roc_auc_score

from tests.train.runs import exported_answers, linear_trainer, read_list
from train.__main__ import main
from train.config import Config
from train.data.load import load_data
from train.run_folder.folder import Run
from train.steps.loss import make_loss
from train.steps.parallel import Parallel
from train.steps.task import SEVERAL_LABELS

NAMES = ("bar", "dot", "ring")
OPTIONS = ["--size", "28", "--model", "p4-lenet", "--batch-size", "8", "--parallel", "jit"]


def draw_labels(folder: Path, count: int, seed: int = 0) -> Path:
    """Draw images with any of three shapes, in four places, and list them."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    rows = []
    for i in range(count):
        ground = rng.normal(30, 6, (28, 28)).clip(0, 255).astype(np.uint8)
        image = Image.fromarray(ground)
        draw, has = ImageDraw.Draw(image), rng.random(3) < (0.6, 0.4, 0.3)
        for place, c in zip(rng.permutation(4), np.flatnonzero(has), strict=False):
            y, x = 2 + 14 * (place // 2), 2 + 14 * (place % 2)
            if c == 0:
                draw.rectangle((x, y + 2, x + 7, y + 4), fill=220)
            elif c == 1:
                draw.ellipse((x + 2, y + 2, x + 5, y + 5), fill=220)
            else:
                draw.ellipse((x, y, x + 7, y + 7), outline=220)
        image.save(folder / f"{i}.png")
        rows.append((f"{i}.png", ";".join(itertools.compress(NAMES, has))))
    write_list(folder / "labels.csv", rows)
    return folder


def write_list(path: Path, rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    return draw_labels(tmp_path_factory.mktemp("labels") / "shapes", 128)


@pytest.fixture(scope="module")
def labelled(shapes) -> Run:
    path = shapes.parent / "run"
    begun = ["--data", str(shapes / "labels.csv"), *OPTIONS, "--epochs", "8", "--angles", "4"]
    assert main([*begun, "--run", str(path)]) == 0
    return Run.open(path)


def table_of(rows: list[dict[str, str]]) -> dict[str, tuple[int, ...]]:
    """Path -> 0 or 1 for each class."""
    return {r["path"]: tuple(int(n in r["label"].split(";")) for n in NAMES) for r in rows}


@pytest.fixture(scope="module")
def tested(labelled, shapes) -> tuple[np.ndarray, np.ndarray]:
    """The labels of the test images, as they are in the list, and what `predict` says of them."""
    rows = map(json.loads, (labelled.path / "images.jsonl").read_text().splitlines())
    files = [row["file"] for row in rows if row["split"] == "test"]
    out = labelled.path.parent / "test.csv"
    paths = [str(shapes / name) for name in files]
    assert main(["predict", str(labelled.path), *paths, "--output", str(out)]) == 0
    probabilities = [[float(row[name]) for name in NAMES] for row in read_list(out)]
    true = table_of(read_list(shapes / "labels.csv"))
    return np.array([true[name] for name in files]), np.array(probabilities)


def test_the_results_are_those_of_scikit_learn(labelled, tested):
    label, p = tested
    results, said = labelled.results, p > 0.5
    assert results["input"]["several_labels"] and results["input"]["names"] == list(NAMES)
    assert results["test_images"] == len(label) == 26
    assert results["test_error"] == pytest.approx(hamming_loss(label, said))
    assert results["exact_match"] == pytest.approx((said == label).all(-1).mean())
    # Probabilities near 0 or 1 are rounded, so that some may be equal.
    assert results["auc"] == pytest.approx(roc_auc_score(label, p), abs=0.01)
    assert results["average_precision"] == pytest.approx(
        average_precision_score(label, p), abs=0.01
    )
    assert results["macro_f1"] == pytest.approx(f1_score(label, said, average="macro"))
    assert results["accuracy_at_angle"][0] == pytest.approx(1 - results["test_error"])
    # It has learned: an untrained network is about as good as saying nothing.
    assert results["auc"] > 0.8 and results["test_error"] < 0.6 * label.mean()


def test_labels_that_mean_nothing_are_not_learned(shapes, tmp_path):
    """The negative control: the same images with the labels of others."""
    folder = shutil.copytree(shapes, tmp_path / "mixed")
    rows = read_list(shapes / "labels.csv")
    labels = np.random.default_rng(1).permutation([row["label"] for row in rows])
    write_list(folder / "labels.csv", zip([row["path"] for row in rows], labels, strict=True))
    begun = ["--data", str(folder / "labels.csv"), *OPTIONS, "--epochs", "2", "--report", "none"]
    assert main([*begun, "--run", str(tmp_path / "run")]) == 0
    assert 0.2 < Run.open(tmp_path / "run").results["auc"] < 0.75


def test_the_report_has_decisions_and_no_confusions(labelled):
    text = (labelled.path / "report.md").read_text(encoding="utf-8")
    assert "| test label error | exact match | mean AUC | macro-F1" in " ".join(text.split())
    assert "Confusion" not in text and "softmax" not in text
    for title in ("Classes", "Calibration", "AUC against rotation angle"):
        assert f"\n## {title}\n" in text
    assert "average precision" in text and "sigmoid cross-entropy of each label" in text
    for name in ("calibration.png", "auc_against_angle.png", "predictions.png", "turning.png"):
        assert (labelled.path / name).stat().st_size > 1000
    page = (labelled.path / "report.html").read_text(encoding="utf-8")
    assert '"labels":[' in page and "no page was written" not in page
    results = labelled.results
    dumped = json.dumps(results, allow_nan=False)
    rows = results["mistakes"] + results["least_certain"]
    assert rows and all(row["file"].endswith(".png") and "class" in row for row in rows), dumped


def test_predictions_are_all_labels_that_are_said(labelled, shapes, tmp_path, capsys):
    files = [str(shapes / f"{i}.png") for i in range(16)]
    run = str(labelled.path)
    for suffix in ("csv", "json"):
        assert main(["predict", run, *files, "--output", str(tmp_path / f"new.{suffix}")]) == 0
    rows = read_list(tmp_path / "new.csv")
    assert list(rows[0]) == ["path", "predicted", "error", *NAMES]
    objects = json.loads((tmp_path / "new.json").read_text())
    assert main(["features", run, *files, "--output", str(tmp_path / "new.npz")]) == 0
    names = np.load(tmp_path / "new.npz")["predicted"]
    capsys.readouterr()
    assert main(["predict", run, *files, "--top", "1"]) == 0
    printed = capsys.readouterr().out.splitlines()
    for row, found, name, line in zip(rows, objects, names, printed, strict=True):
        said = [n for n in NAMES if float(row[n]) > 0.5]
        assert row["predicted"].split(";") == (said or [""])
        assert found["predicted"] == said and name == row["predicted"]
        shown = line.rpartition("/")[2].partition(": ")[2].partition("; not ")
        assert {cell.split(" ")[0] for cell in shown[0].split(", ")} == set(said or ["none"])
        assert bool(shown[2]) == (not said)
    assert len({row["predicted"] for row in rows}) > 2


def test_new_labelled_images_are_evaluated(labelled, tmp_path, capsys):
    folder = draw_labels(tmp_path / "new", 12, seed=7)
    run = str(labelled.path)
    assert main(["evaluate", run, "--data", str(folder / "labels.csv")]) == 0
    printed = capsys.readouterr().out
    out = tmp_path / "new.csv"
    assert main(["predict", run, str(folder), "--output", str(out)]) == 0
    true = table_of(read_list(folder / "labels.csv"))
    rows = [(true[Path(r["path"]).name], [float(r[n]) > 0.5 for n in NAMES]) for r in
            read_list(out)]  # fmt: skip
    error = hamming_loss(*map(np.array, zip(*rows, strict=True)))
    assert f"is a new set of 12 images: label error {100 * error:.2f} %" in printed
    assert "| class | images | said to be | recall" in " ".join(printed.split())
    assert main(["evaluate", run, "--split", "validation"]) == 0
    assert "validation label error" in capsys.readouterr().out
    assert main(["evaluate", run, "--data", str(folder)]) == 2
    assert "says one class of each image" in capsys.readouterr().err


def test_another_program_says_the_same_labels(labelled, shapes, tmp_path, capsys):
    files = [shapes / f"{i}.png" for i in range(6)]
    found, about, last = exported_answers(labelled, files, tmp_path / "net.stablehlo", capsys)
    assert about["labels"].startswith("several") and "sigmoid of the logits" in about["steps"][-1]
    assert main(["predict", str(labelled.path), *map(str, files), "--output",
                 str(tmp_path / "new.csv")]) == 0  # fmt: skip
    rows = read_list(tmp_path / "new.csv")
    expected = [[float(row[name]) for name in NAMES] for row in rows]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    said = eval(last, {"about": about, "probabilities": found})
    assert [";".join(labels) for labels in said] == [row["predicted"] for row in rows]


def test_options_that_need_one_class_are_refused(shapes, tmp_path, capsys):
    begun = ["--data", str(shapes / "labels.csv"), *OPTIONS, "--run", str(tmp_path / "run")]
    for more, message in (
        (["--sampling", "balanced"], "use --class-weights balanced"),
        (["--patience", "2", "--metric", "class-mean"], "use --metric auc, loss or accuracy"),
        (["--train-images", "1", "--batch-size", "1"], "no training image of"),
    ):
        assert main([*begun, *more]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
        assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_the_labels_that_it_began_with(shapes, tmp_path, capsys):
    """It is resumed to the same bits; not so if an image has other labels now."""
    folder = shutil.copytree(shapes, tmp_path / "shapes")
    begun = ["--data", str(folder / "labels.csv"), *OPTIONS, "--report", "none", "--seeds", "2"]
    begun += ["--loss", "focal", "--class-weights", "balanced", "--label-smoothing", "0.1"]
    begun += ["--patience", "2", "--metric", "auc", "--schedule", "constant"]
    assert main([*begun, "--epochs", "1", "--run", str(tmp_path / "runs")]) == 0
    assert "over 2 seeds, exact match" in capsys.readouterr().out
    run = Run.open(tmp_path / "runs" / "seed1")
    first = run.results["auc"]
    rows = read_list(folder / "labels.csv")
    other = [(r["path"], "ring" if r["path"] == "3.png" else r["label"]) for r in rows]
    assert dict(other)["3.png"] != rows[3]["label"]
    write_list(folder / "labels.csv", other)
    assert main(["--resume", str(run.path), "--epochs", "2"]) == 2
    assert "1 of" in (error := capsys.readouterr().err) and "relabeled (3.png)" in error
    write_list(folder / "labels.csv", [(row["path"], row["label"]) for row in rows])
    assert main(["--resume", str(run.path), "--epochs", "2"]) == 0
    assert run.results["epochs"] == 2 and run.metrics()[0]["validation_auc"] > 0 < first


def test_eight_devices_take_the_steps_of_one(shapes):
    config = Config(dataset="folder", data=shapes / "labels.csv", image_size=28, validation=0)
    config = dataclasses.replace(config, class_weights="balanced", batch_size=16)
    data = load_data(config)
    steps = {"loss": make_loss(config, data.train.label, 3), "task": SEVERAL_LABELS}

    def trained(parallel: Parallel, seeds: tuple[int, ...]):
        trainer, made = linear_trainer(data, parallel, batch_size=16, seeds=seeds, steps=steps)
        *_, (state, _) = trainer.epoch(trainer.join([made.init() for _ in seeds]), 1)
        one = trainer.parallel.local(trainer.split(state)[0])
        return trainer.evaluate(one, data.test), jax.tree.map(np.asarray, one.params)

    figures, params = trained(Parallel("jit"), (3,))
    for parallel in (Parallel("jit"), Parallel("pmap", 8)):
        again, leaves = trained(parallel, (3, 4))
        assert again == pytest.approx(figures, rel=1e-4)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), leaves, params)
