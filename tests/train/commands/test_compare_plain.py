"""`--compare-plain`: three ordinary run folders of equals, and a comparison that goes on."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from tests.train.pages import Parsed, made_run
from train.__main__ import main
from train.commands import compare_plain as module
from train.commands.compare_plain import FOLDERS, compare_plain, default_folder
from train.config import Config
from train.data.provenance import IMAGES
from train.loop import train
from train.run.averaged import AVERAGED
from train.run_folder.folder import Run
from train.seeds import train_seeds
from train.steps.equal_parameters import Sized


def options(images: Path, path: Path, *more: str) -> list[str]:
    small = ["--size", "28", "--model", "p4-p4cnn", "--width", "3", "--epochs", "1"]
    small += ["--batch-size", "8", "--parallel", "jit", "--angles", "4", "--compare-plain"]
    return ["--data", str(images), *small, "--run", str(path), *more]


@pytest.fixture(scope="module")
def compared(own_images, tmp_path_factory):
    path = tmp_path_factory.mktemp("fair") / "run"
    assert main(options(own_images, path, "--report", "quick")) == 0
    return path


def times(path: Path) -> dict[str, int]:
    return {f: (path / f / "results.json").stat().st_mtime_ns for f in FOLDERS}


def test_three_run_folders_and_a_comparison(compared):
    runs = [Run.open(compared / folder) for folder in FOLDERS]
    configs = [run.config for run in runs]
    assert [(c.group, c.augment) for c in configs] == [
        ("p4", "none"), ("z2", "none"), ("z2", "rotate"),
    ]  # fmt: skip
    plain = {"group": "z2", "width": configs[1].width}
    assert configs[1] == dataclasses.replace(configs[0], **plain)
    assert configs[2] == dataclasses.replace(configs[1], augment="rotate")
    ours, theirs, turned = (run.results["parameters"] for run in runs)
    assert theirs == turned and abs(theirs / ours - 1) < 0.15
    # The same images in the same parts.
    assert len({(run.path / IMAGES).read_text() for run in runs}) == 1
    report = (compared / "report.md").read_text()
    assert "| p4cnn p4 " in report and "| p4cnn z2, turned images " in report
    for run in runs:
        error = 100 * run.results["test_error"]
        assert f"{error:.2f} ± " in report and f"{run.results['parameters']:,}" in report
        lowest = 100 * min(run.results["accuracy_at_angle"])
        assert f"| {lowest:.1f} %" in report
    assert "worst accuracy over angles" in report and "augmentation rotate" in report
    assert "of the difference" in report or "have the same test error" in report
    page = (compared / "report.html").read_text()
    assert "worst accuracy over angles" in page and "percentage points" in page
    assert "note" in Parsed(page).data, "not asked for: no slider"
    assert (compared / "learning_curves.png").is_file()


def test_the_plain_network_averaged_over_poses(compared, own_images, tmp_path, capsys):
    """It stands in the table as `evaluate --symmetrize` has it, exactly invariant, and is measured
    once."""
    path = shutil.copytree(compared, tmp_path / "run")
    kept = json.loads((path / "plain-rotated" / AVERAGED).read_text())
    capsys.readouterr()
    assert main(["evaluate", str(path / "plain-rotated"), "--symmetrize", "p4"]) == 0
    shown = f"{100 * kept['results']['test_error']:.2f} %"
    assert shown in capsys.readouterr().out
    report = (path / "report.md").read_text()
    (row,) = [line for line in report.splitlines() if "mean over 4 poses |" in line]
    assert f"| {shown[:-2]} ± " in row
    at_element = kept["results"]["invariance_error_at_element"]
    turns = ("r90", "r180", "r270")
    assert max(at_element[turn] for turn in turns) < 1e-5
    plain = Run.open(path / "plain-rotated").results["invariance_error_at_element"]
    assert min(plain[turn] for turn in turns) > 1e-3, "negative control"
    assert "takes as many evaluations" in report

    (path / "plain-rotated" / AVERAGED).unlink()
    moved = shutil.copytree(own_images, tmp_path / "moved")
    shutil.rmtree(moved / "ring")
    run = Run.open(path / "plain-rotated")
    run.record_places(dataclasses.replace(run.config, data=moved))
    assert main(["--resume", str(path)]) == 0
    assert "plain-rotated is not averaged over poses: " in capsys.readouterr().out
    assert "poses |" not in (path / "report.md").read_text()


def test_it_goes_on_where_it_was(compared, own_images, tmp_path, capsys):
    path = shutil.copytree(compared, tmp_path / "run")
    report = (path / "report.md").read_text()
    before = times(path)
    shutil.rmtree(path / "plain-rotated")  # not begun
    (path / "plain" / "results.json").unlink()  # as if killed before its end
    (path / "report.md").unlink()
    assert main(options(own_images, path, "--report", "quick")) == 0
    out = capsys.readouterr().out
    assert "continuing after epoch 1" in out and f"{path / 'equivariant'} is finished" in out
    assert times(path)["equivariant"] == before["equivariant"], "not trained again"
    again = (path / "report.md").read_text()
    tables = [[row.split("|")[:4] for row in text.splitlines() if row.startswith("|")]
              for text in (report, again)]  # fmt: skip
    assert tables[0] == tables[1] and len(tables[0]) == 6, "all but the time is the same"
    (path / "report.md").unlink()
    before = times(path)
    assert main(["--resume", str(path)]) == 0
    assert (path / "report.md").read_text() == again and times(path) == before


def test_all_networks_have_the_images_of_the_first(compared, own_images, tmp_path, capsys):
    """Also if there are others when the second begins."""
    images = shutil.copytree(own_images, tmp_path / "images")
    path = shutil.copytree(compared, tmp_path / "run")
    for folder in ("plain", "plain-rotated"):
        shutil.rmtree(path / folder)
    shutil.copy(next((images / "ring").iterdir()), images / "ring" / "another.png")
    assert main(options(images, path)) == 2
    error = capsys.readouterr().err
    assert f"`data` of {path / 'equivariant'} was {own_images}, got {images}" in error
    assert main(["--resume", str(path), "--data", str(images)]) == 0
    records = {(path / folder / IMAGES).read_text() for folder in FOLDERS}
    assert len(records) == 1 and "another" not in records.pop()
    assert "1 new, not used" in capsys.readouterr().out


def test_mistakes(compared, own_images, tmp_path, capsys):
    def error(*arguments: str) -> str:
        assert main(list(arguments)) == 2
        return capsys.readouterr().err

    fresh = tmp_path / "fresh"
    for more in (["--group", "z2"], ["--model", "z2cnn"], ["--model", "mixed", "--groups", "z2"]):
        words = [w for w in options(own_images, fresh) if w not in ("--model", "p4-p4cnn")]
        model = [] if more[0] == "--model" else ["--model", "p4cnn"]
        assert "`compare_plain` is for networks with a symmetry, and" in error(
            *words, *model, *more
        )
    assert not fresh.exists()
    said = error(*options(own_images, compared, "--learning-rate", "0.1"))
    assert f"{compared / 'equivariant'} was begun with other options" in said
    assert "with another number of --seeds" in error(*options(own_images, compared, "--seeds", "2"))
    assert "`epochs` of a comparison cannot" in error("--resume", str(compared), "--epochs", "2")
    (fresh / "mine").mkdir(parents=True)
    assert "is not empty, and no comparison" in error(*options(own_images, fresh))
    one = compared / "equivariant"
    assert "is not empty, and no comparison" in error(*options(own_images, one))
    for function in (train, train_seeds):
        with pytest.raises(ValueError, match="`compare_plain` trains several networks"):
            function(Config(compare_plain=True), fresh)


@pytest.fixture
def begun(monkeypatch):
    """Nothing is trained: the networks that would be, by their folders, and their data."""
    monkeypatch.setattr(module, "poses_of", lambda config: None)
    found = []

    def several(config: Config, path: Path, log, loaded) -> list[Run]:
        found.append((path.name, config, loaded))
        errors = (0.1, 0.3)[: config.seeds]
        runs = []
        for i, error in enumerate(errors):
            folder = path / f"seed{config.seed + i}" if config.seeds > 1 else path
            one = dataclasses.replace(config, seed=config.seed + i, seeds=1)
            runs.append(made_run(one, folder))
            runs[-1].write_json("results.json", runs[-1].results | {"test_error": error})
        return runs

    monkeypatch.setattr(module, "train_seeds", several)
    monkeypatch.setattr(module, "train", lambda *given, **loaded: several(*given, **loaded)[0])
    return found


def test_seeds_are_averaged(begun, smaller, tmp_path):
    config = dataclasses.replace(smaller, compare_plain=True, seeds=2, seed=3, run=tmp_path)
    written = compare_plain(config, lambda line: None)
    assert [(name, one.seeds, one.seed) for name, one, _ in begun] == [(f, 2, 3) for f in FOLDERS]
    # 20 % of 40 images, twice.
    assert written.count("| 20.00 ± 6.32 %") == written.count("| 20.00 ± 14.14 ") == 3
    assert "The curves are of seed 3." in (tmp_path / "report.md").read_text()
    resumed = []
    module_compare = lambda config, log, moved: resumed.append((config, moved))  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "compare_plain", module_compare)
        module.resume_compare_plain(tmp_path)
    assert resumed == [(config, True)]
    with pytest.raises(ValueError, match="with another number of --seeds"):
        compare_plain(dataclasses.replace(config, seeds=1), lambda line: None)


def test_images_that_are_turned_already_are_turned_in_the_third_alone(begun, smaller, tmp_path):
    config = dataclasses.replace(
        smaller, model="p4cnn", group="z2", adapt="symmetrize", augment="rotate", run=tmp_path
    )
    compare_plain(dataclasses.replace(config, compare_plain=True), lambda line: None)
    _, configs, loaded = zip(*begun, strict=True)
    assert [c.augment for c in configs] == ["rotate", "none", "rotate"]
    assert [c.adapt for c in configs] == ["symmetrize", "none", "none"]
    assert [c.width for c in configs] == [2] * 3, "averaging over poses has no parameters"
    assert loaded[0] is loaded[1] is loaded[2] is not None, "the images are loaded once"


def test_a_count_that_is_far_from_the_other_is_said(begun, smaller, tmp_path, monkeypatch):
    far = lambda config, target, **form: Sized(config, 2 * target)  # noqa: E731
    monkeypatch.setattr(module, "with_parameters", far)
    said = []
    config = dataclasses.replace(smaller, compare_plain=True, run=tmp_path)
    compare_plain(config, said.append)
    words = "(+100.0 %); no width of lenet z2 comes within 15 %, so that the comparison is not one"
    assert any(words in line for line in said)
    assert words in (tmp_path / "report.md").read_text()


def test_the_same_command_has_the_same_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = Config(dataset="folder", data=Path("x"), compare_plain=True, preset="folder")
    folder = default_folder(config)
    assert folder.parent == Path("runs") and folder.name.startswith("folder-beside-plain-")
    for same in ({"report": "none"}, {"data": tmp_path / "x"}):
        assert default_folder(dataclasses.replace(config, **same)) == folder
    for other in ({"epochs": 3}, {"data": Path("y")}, {"seed": 1}):
        assert default_folder(dataclasses.replace(config, **other)) != folder
