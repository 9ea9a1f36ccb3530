"""The figures by class in whole runs: in the report, in the page, in the results, and said."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from tests.train.pages import parse
from tests.train.runs import draw_shapes
from train.__main__ import main
from train.commands.evaluate import Evaluate, evaluate
from train.config import Config
from train.loop import train
from train.run.class_figures import class_lines
from train.run_folder.folder import Run
from train.seeds import summary

TITLES = ("Classes", "Confusion matrix", "Calibration", "The least certain images")
TITLES += ("Recall against rotation angle",)


def strict(run: Run) -> dict:
    def refuse(constant: str):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads((run.path / "results.json").read_text(), parse_constant=refuse)


def test_a_report_has_the_figures_by_class(own_run):
    report, page = (own_run.path / "report.md").read_text(), parse(own_run)
    results = strict(own_run)
    for title in TITLES:
        assert f"\n## {title}\n" in report and title in page.text
    names = [row["file"] for row in results["least_certain"]]
    assert len(names) == 6 and all(re.match(r"(ring|star)/\d+\.(png|jpg|webp)", n) for n in names)
    for name in names:
        assert name in report and name in page.text
    pictures = re.findall(r"\]\((\w+\.png)\)", report)
    assert {"confusion.png", "calibration.png", "recall_against_angle.png"} <= set(pictures)
    assert len(page.links) == len(pictures) == len(list(own_run.path.glob("*.png")))


def test_the_figures_are_those_of_the_predictions(own_run):
    results = strict(own_run)
    confusion = np.array(results["confusion"])
    assert confusion.sum() == results["test_images"]
    assert 1 - np.trace(confusion) / confusion.sum() == pytest.approx(results["test_error"])
    recall = np.diag(confusion) / confusion.sum(1)
    np.testing.assert_allclose(results["by_class"]["recall"], recall)
    assert len(results["mistakes"]) == confusion.sum() - np.trace(confusion)
    for key in ("recall", "class_mean_accuracy", "auc", "calibration_error"):
        assert len(results[f"{key}_at_angle"]) == len(results["angles"])
    # All test images are turned, and the first angle is 0.
    np.testing.assert_allclose(results["recall_at_angle"][0], recall)
    upright = results["calibration_error_at_angle"][0]
    assert upright == pytest.approx(results["calibration_error"], abs=1e-4)


@pytest.fixture(scope="module")
def unbalanced(tmp_path_factory) -> Config:
    """Forty rings and four stars, too few steps to find a star."""
    path = tmp_path_factory.mktemp("unbalanced")
    folder = draw_shapes(path / "shapes", 40)
    for file in sorted((folder / "star").iterdir())[4:]:
        file.unlink()
    return Config(
        dataset="folder", data=folder, image_size=28, batch_size=8, epochs=1, model="lenet",
        group="p4", learning_rate=1e-5, report="none", parallel="jit", validation=0.2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def rare(unbalanced, tmp_path_factory) -> tuple[Run, list[str]]:
    said = []
    return train(unbalanced, tmp_path_factory.mktemp("rare") / "run", said.append), said


def test_a_class_that_is_never_found_is_said_after_the_error(rare, capsys):
    run, said = rare
    results = strict(run)
    (lost,) = [c for c in (0, 1) if results["by_class"]["recall"][c] == 0]
    name, images = ("ring", "star")[lost], results["by_class"]["images"][lost]
    lines = [
        "class-mean accuracy 50.00 %",
        f"class {name}: recall 0.0 % of {images} image{'s' * (images > 1)}",
    ]
    first, *rest = said[-1].splitlines()
    assert first.startswith("test error") and rest == lines == class_lines(results)
    assert f"class-mean accuracy {50.0:.2f} %" in summary([run, run]).replace(" ± 0.00", "")
    evaluate(Evaluate(run.path))
    evaluated = capsys.readouterr().out
    assert all(line in evaluated for line in lines) and "| class-mean accuracy |" in evaluated
    evaluate(Evaluate(run.path, split="validation"))
    assert "class-mean accuracy 50.00 %" in capsys.readouterr().out


def test_a_run_without_a_report_gets_the_pictures_later(rare, tmp_path):
    run = Run(shutil.copytree(rare[0].path, tmp_path / "run"))
    config = dataclasses.replace(run.config, angles=4)
    run.write("config.json", config.to_json())
    assert main(["report", str(run.path)]) == 0
    assert (run.path / "mistakes.png").is_file()
    assert "Recall against rotation angle" in (run.path / "report.md").read_text()
    assert strict(run)["by_class"] == rare[0].results["by_class"]


def test_images_that_are_gone_are_not_mistaken_for_others(rare, unbalanced, tmp_path):
    """The places of the other images are others, so nothing is drawn of them."""
    run = Run(shutil.copytree(rare[0].path, tmp_path / "run"))
    folder = shutil.copytree(unbalanced.data, tmp_path / "shapes")
    first = run.results["least_certain"][0]["file"]
    (folder / first).unlink()
    run.write("config.json", dataclasses.replace(run.config, angles=4, data=folder).to_json())
    assert main(["report", str(run.path)]) == 0
    report = (run.path / "report.md").read_text()
    assert not (run.path / "least_certain.png").exists() and "least_certain.png" not in report
    assert first in report, "the table is of the run"
