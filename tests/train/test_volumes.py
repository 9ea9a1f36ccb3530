"""Runs on volumes, from training to an exported network."""

import json
import subprocess
import sys

import jax
import numpy as np
import onnxruntime
import pytest

from gconv_jax import full_octahedral, octahedral, transform
from gconv_jax.models import load_pretrained
from train.__main__ import main
from train.config import Config
from train.run.predictor import load_predictor
from train.run.saved_predictor import open_predictor
from train.run_folder.folder import Run
from train.run_folder.saved_network import open_run
from train.steps.augment import Prepare
from train.steps.build_model import build_model
from train.steps.turned_volumes import cube_turns, quarter_turns, turned_volume


def volumes(count: int, seed: int) -> np.ndarray:
    """Masks of long and of short boxes."""
    rng = np.random.default_rng(seed)
    x = np.zeros((count, 8, 8, 8, 1), np.uint8)
    for i, volume in enumerate(x):
        d, h, w = rng.integers(0, 4, 3)
        volume[d : d + 2, h : h + 4, w : w + 2 + 2 * (i % 2)] = 1
    return x


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("volumes") / "x.npz"
    arrays = {}
    for seed, (split, count) in enumerate((("train", 16), ("val", 8), ("test", 8))):
        arrays |= {f"{split}_images": volumes(count, seed)}
        arrays |= {f"{split}_labels": np.arange(count) % 2}
    np.savez(path, **arrays, class_names=np.array(["short", "long"]))
    return path


def begin(data, run, *words: str) -> Run:
    common = ["--epochs", "1", "--batch-size", "8", "--parallel", "jit", "--run", str(run)]
    assert main(["--data", str(data), *common, *words]) == 0
    return Run.open(run)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Run:
    """A run over the rotations of the cube, begun without a recipe."""
    return begin(data, tmp_path_factory.mktemp("volumes") / "run", "--width", "1")


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory) -> Run:
    path = tmp_path_factory.mktemp("volumes") / "plain"
    words = ["--model", "z3-voxel-cnn", "--width", "4", "--augment", "rotate"]
    return begin(data, path, *words, "--report", "quick")


def logits(run: Run, stored: np.ndarray) -> np.ndarray:
    return load_predictor(run)(255 * stored)


def test_the_recipe_is_chosen_by_what_is_in_the_file(run, plain):
    assert (run.config.preset, run.config.title) == ("folder-voxels", "voxel-cnn octahedral")
    assert plain.config.title == "voxel-cnn z3"
    assert run.results["input"]["shape"] == [8, 8, 8, 1]
    assert run.results["input"]["reading"] == {"ink": "light", "range": [0.0, 1.0]}


def test_a_trained_network_is_invariant_at_all_rotations_of_the_cube(run):
    stored = volumes(6, 9)
    upright = logits(run, stored)
    size = np.ptp(upright, axis=0).max()
    assert size > 1e-3
    for element in octahedral().elements:
        moved = transform(stored, group=octahedral(), element=element, lifted=False)
        np.testing.assert_allclose(logits(run, np.asarray(moved)), upright, atol=1e-4 * size)


def test_the_report_has_the_error_at_each_element_by_name(run, plain):
    found = run.results["invariance_error_at_element"]
    assert list(found) == [octahedral().element_name(g) for g in octahedral().elements]
    assert max(found.values()) < 1e-4
    # A negative control: a plain network is not invariant, and is measured at all symmetries.
    found = plain.results["invariance_error_at_element"]
    assert list(found) == [full_octahedral().element_name(g) for g in full_octahedral().elements]
    assert found.pop("e") == 0 and min(found.values()) > 1e-3
    stored = volumes(6, 9)
    assert np.abs(logits(plain, np.rot90(stored, 1, (1, 3))) - logits(plain, stored)).max() > 1e-4


def test_the_report_of_volumes(run):
    results = run.results
    assert results["quarter_turns"] == [0, 90, 180, 270]
    for values in results["accuracy_at_quarter_turn"].values():
        assert values == [1 - results["test_error"]] * 4
    assert set(results["accuracy_at_quarter_turn"]) == {"depth", "height", "width"}
    assert set(results["left_out"]) == {"page", "untrained"}
    text = (run.path / "report.md").read_text()
    assert "slider that turns an input (not for volumes)" in text and "adds them" not in text
    assert "volumes of 8 x 8 x 8 voxels" in text
    assert "maximum of a volume along its depth" in text and "filters.png" not in text
    for picture in ("predictions", "accuracy_at_quarter_turns", "learning_curves"):
        assert (run.path / f"{picture}.png").is_file() and f"({picture}.png)" in text
    page = (run.path / "report.html").read_text()
    assert page.count("data:image/png;base64") == text.count("![") > 3


def test_other_commands_take_a_run_on_volumes(run, plain, tmp_path, capsys):
    error = run.results["test_error"]
    capsys.readouterr()
    assert main(["evaluate", str(run.path)]) == 0
    assert f"{100 * error:.2f} %" in capsys.readouterr().out
    assert main(["evaluate", str(run.path), "--symmetrize", "p4"]) == 2
    assert "`symmetrize` P4 is for images" in capsys.readouterr().err
    before = run.results
    assert main(["report", str(run.path)]) == 0
    assert run.results == before and "slider" not in capsys.readouterr().out
    assert main(["compare", str(plain.path), str(run.path), "--out", str(tmp_path / "both")]) == 0
    said = (tmp_path / "both" / "report.md").read_text()
    assert "full_octahedral()" not in said and "octahedral()" in said
    assert "slider" not in capsys.readouterr().out


@pytest.mark.parametrize("format", ["onnx", "stablehlo"])
def test_predictions_and_exports_agree(run, tmp_path, format, capsys):
    stored = volumes(2, 5)
    for i, volume in enumerate(stored):
        np.save(tmp_path / f"{i}.npy", volume[..., 0])
    paths = [str(tmp_path / f"{i}.npy") for i in range(2)]
    capsys.readouterr()
    assert main(["predict", str(run.path), *paths]) == 0
    expected = np.asarray(jax.nn.softmax(logits(run, stored)))
    best = [("long", "short")[i] for i in expected.argmax(-1)]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1].split(" (")[0] for line in lines] == best
    out = tmp_path / f"model.{format}"
    assert main(["export", str(run.path), "--format", format, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "uint8 [N, 8, 8, 8, 1] to probabilities" in said
    if format == "onnx":
        session = onnxruntime.InferenceSession(out)
        (found,) = session.run(None, {"x": 255 * stored})
    else:
        found = jax.export.deserialize(bytearray(out.read_bytes())).call(255 * stored)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # The program that is printed classifies files without the library.
    program = "\n".join(line[2:] for line in said.splitlines() if line.startswith("  "))
    done = subprocess.run(
        [sys.executable, "-c", program, *paths],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str(best), done.stderr
    metadata = tmp_path / "model.stablehlo.json"
    if metadata.is_file():
        assert json.loads(metadata.read_text())["image"]["size"] == [8, 8, 8, 1]


def test_a_saved_network_says_the_same_of_volumes(run, data, tmp_path, capsys):
    saved = tmp_path / "saved"
    assert main(["export", str(run.path), "--format", "pretrained", "--out", str(saved)]) == 0
    stored = 255 * volumes(2, 5)
    np.testing.assert_array_equal(
        open_predictor(open_run(saved))(stored), logits(run, stored // 255)
    )
    expected, model = logits(run, stored // 255), load_pretrained(saved)
    np.testing.assert_allclose(model(stored), expected, atol=1e-5 * np.abs(expected).max())
    turned = np.rot90(stored, axes=(1, 3))
    np.testing.assert_allclose(model(turned), expected, atol=1e-4 * np.abs(expected).max())
    card = (saved / "README.md").read_text()
    assert "| input | volumes `[N, 8, 8, 8, 1]` with numbers from 0 to 1, or uint8 |" in card
    assert "| classes | long, short |" in card and "volumes of 8 x 8 x 8 voxels" in card
    capsys.readouterr()
    assert main(["evaluate", str(saved), "--data", str(data)]) == 0
    said = capsys.readouterr().out
    assert f"is a new set of 8 images: error {100 * run.results['test_error']:.2f} %" in said


def test_predict_names_what_is_no_volume(run, tmp_path, capsys):
    np.save(tmp_path / "large.npy", np.zeros((9, 8, 8)))
    assert main(["predict", str(run.path), str(tmp_path / "large.npy")]) == 2
    assert "it is of 9 x 8 x 8 voxels, and the network takes 8 x 8 x 8 at most" in (
        capsys.readouterr().err
    )


def test_turned_volumes_are_those_of_the_library(rng):
    x = rng.normal(size=(2, 4, 4, 4, 3)).astype(np.float32)
    group = full_octahedral()
    for element, turn in zip(group.elements, cube_turns(group), strict=True):
        expected = transform(x, group=group, element=element, lifted=False)
        np.testing.assert_array_equal(turned_volume(x, turn), expected)
        assert turn.name == group.element_name(element)
    for axis in range(3):
        plane = [i + 1 for i in range(3) if i != axis]
        for quarters, turn in enumerate(quarter_turns(axis)):
            np.testing.assert_array_equal(turned_volume(x, turn), np.rot90(x, quarters, plane))


def test_augmentation_turns_volumes_by_each_rotation_of_the_cube(rng):
    x = rng.integers(0, 256, (1, 4, 4, 4, 2)).astype(np.uint8)
    keys = jax.random.split(jax.random.key(0), 300)
    prepare = Prepare(0.0, 1.0, "rotate")
    found = np.asarray(prepare(np.repeat(x, 300, 0), keys))
    unit = np.asarray(prepare(x))
    every = {turned_volume(unit, turn).tobytes() for turn in cube_turns(octahedral())}
    assert {one.tobytes() for one in found} == every and len(every) == 24


def test_a_transformer_over_the_cube(rng):
    config = Config(model="vit", group="octahedral", dataset="folder", width=96, blocks=1)
    model = build_model(config, classes=2, in_features=1)
    x = rng.normal(size=(2, 8, 8, 8, 1)).astype(np.float32)
    apply = jax.jit(model)  # pyright: ignore[reportArgumentType]
    upright = apply(x)
    for element in (1, 10, 23):
        moved = transform(x, group=octahedral(), element=element, lifted=False)
        np.testing.assert_allclose(apply(moved), upright, atol=1e-4)
    assert np.abs(apply(x[:, ::-1] + 1) - upright).max() > 1e-3
