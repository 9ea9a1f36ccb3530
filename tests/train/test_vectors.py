"""Runs that predict vectors, begun as users do: images that turn have vectors that turn."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gconv_jax.models import load_pretrained
from tests.train.runs import exported_answers, read_list
from train.__main__ import main
from train.run.predictor import load_predictor
from train.run_folder.folder import Run

NAMES = ("light", "dx", "dy")
OPTIONS = ["--task", "regression", "--targets", "light", "--vectors", "dx", "dy", "--size", "28"]
OPTIONS += ["--batch-size", "8", "--parallel", "jit", "--model", "lenet", "--width", "4"]


def pixels(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return spots of light, and the brightness and the place of each: x to the right and y down,
    from the center; most of them are in the upper half."""
    y, x = np.mgrid[:28, :28] - 13.5
    dx, dy = rng.uniform(-7, 7, count), rng.uniform(-7, 2, count)
    light = rng.uniform(90, 250, count)
    square = np.square(x - dx[:, None, None]) + np.square(y - dy[:, None, None])
    image = light[:, None, None] * np.exp(-square / 10) + rng.uniform(0, 5, (count, 28, 28))
    return image.clip(0, 255).astype(np.uint8), np.stack([light, dx, dy], -1)


def draw(folder: Path, count: int, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    images, values = pixels(np.random.default_rng(seed), count)
    lines = [",".join(("path", *NAMES))]
    for i, (image, row) in enumerate(zip(images, values.tolist(), strict=True)):
        Image.fromarray(image).save(folder / f"{i}.png")
        lines.append(",".join(map(str, (f"{i}.png", *row))))
    (folder / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def predicted(run: Path, files: list[Path], *options: str) -> np.ndarray:
    """Return what the command says of files, from the columns of its table."""
    table = files[0].with_suffix(".csv")
    assert main(["predict", str(run), *map(str, files), "--output", str(table), *options]) == 0
    return np.array([[float(row[name]) for name in NAMES] for row in read_list(table)])


def rotated(files: list[Path], folder: Path, quarters: int) -> list[Path]:
    folder.mkdir()
    for file in files:
        Image.open(file).rotate(90 * quarters).save(folder / file.name)
    return [folder / file.name for file in files]


def turned_once(values: np.ndarray) -> np.ndarray:
    """Turn the vectors by a quarter, counter-clockwise: from right to up, from down to right."""
    light, dx, dy = values.T
    return np.stack([light, dy, -dx], -1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return draw(tmp_path_factory.mktemp("vectors") / "spots", 120)


@pytest.fixture(scope="module")
def measured(folder) -> Run:
    path = folder.parent / "run"
    begun = ["--data", str(folder / "list.csv"), *OPTIONS, "--group", "p4", "--epochs", "6"]
    begun += ["--angles", "8", "--learning-rate", "1e-2", "--augment", "rotate"]
    assert main([*begun, "--run", str(path)]) == 0
    return Run.open(path)


def test_vectors_are_learned_and_turn(measured):
    results = measured.results
    assert results["input"]["names"] == list(NAMES) and results["input"]["vectors"] == [[1, 2]]
    scale = results["input"]["scale"]
    assert scale[1] == scale[2] != scale[0]
    assert results["angle_error"] < 30 and results["by_vector"]["length"][0] < 2
    errors = np.array(results["angle_error_at_angle"])[:, 0]
    np.testing.assert_allclose(errors[::2], errors[0], rtol=1e-3)  # quarter turns
    assert errors.max() < errors[0] + 10, "it has turned images of which the right answers turned"
    at = results["invariance_error_at_element"]
    assert len(at) == 4 and max(at.values()) < 1e-4
    assert results["error_at_angle"][0] == pytest.approx(results["test_error"], rel=1e-3)


def test_the_predictions_for_a_rotated_file_are_rotated(measured, folder, tmp_path):
    files = [folder / f"{i}.png" for i in range(6)]
    upright, turned = (
        predicted(measured.path, rotated(files, tmp_path / str(k), k)) for k in (0, 1)
    )
    np.testing.assert_allclose(turned, turned_once(upright), rtol=1e-3, atol=1e-3)
    assert np.abs(turned - upright)[:, 1:].max() > 1
    averaged = predicted(measured.path, files, "--symmetrize", "p4")
    np.testing.assert_allclose(averaged, upright, rtol=1e-3, atol=1e-3)


def test_the_report_has_vectors(measured):
    text = (measured.path / "report.md").read_text(encoding="utf-8")
    for title in ("Vectors", "Angular error against rotation angle", "Numbers"):
        assert f"\n## {title}\n" in text
    flat = " ".join(text.split())
    assert "| R2 | angular error |" in flat.replace("  ", " ") and "dx along x, dy along y" in flat
    assert "their vectors moved back" in flat
    for name in ("vectors.png", "angular_error_against_angle.png", "numbers.png"):
        assert (measured.path / name).stat().st_size > 1000
    page = (measured.path / "report.html").read_text(encoding="utf-8")
    assert '"turning":[[' in page and '"vectors":[[1,2]]' in page
    json.dumps(measured.results, allow_nan=False)


def test_new_images_are_evaluated_and_the_network_exported(measured, folder, tmp_path, capsys):
    new = draw(tmp_path / "new", 9, seed=5)
    assert main(["evaluate", str(measured.path), "--data", str(new / "list.csv")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "is a new set of 9 images" in printed and "vector dx dy: mean angular error" in printed
    files = [folder / f"{i}.png" for i in range(3)]
    found, *_ = exported_answers(measured, files, tmp_path / "net.stablehlo", capsys)
    np.testing.assert_allclose(found, predicted(measured.path, files), rtol=1e-3, atol=1e-3)


def test_a_saved_network_is_the_run(measured, folder, tmp_path, capsys):
    """Its vectors turn in predictions, in averages over poses, and in figures on new images."""
    saved, run = tmp_path / "saved", str(measured.path)
    assert main(["export", run, "--format", "pretrained", "--out", str(saved)]) == 0
    card = (saved / "README.md").read_text(encoding="utf-8")
    assert "| vectors | dx, dy |" in card and "`[N, 3]`, numbers in their own units" in card
    files = [folder / f"{i}.png" for i in range(4)]
    for options in ((), ("--symmetrize", "p4m")):
        expected = predicted(measured.path, files, *options)
        np.testing.assert_allclose(predicted(saved, files, *options), expected, rtol=1e-5)
    new = draw(tmp_path / "new", 9, seed=5)
    capsys.readouterr()
    for place in (run, str(saved)):
        assert main(["evaluate", place, "--data", str(new / "list.csv")]) == 0
    one, two = capsys.readouterr().out.split("vector dx dy: mean angular error")[1:]
    assert one.split()[0] == two.split()[0]
    model = load_pretrained(saved)
    stored = np.stack([np.asarray(Image.open(f).convert("L"))[..., None] for f in files])
    quarter = np.asarray(model(np.rot90(stored, axes=(1, 2))))
    np.testing.assert_allclose(quarter, turned_once(np.asarray(model(stored))), atol=1e-4)


def test_a_run_starts_from_vectors_and_from_classes(measured, folder, tmp_path, capsys):
    begun = ["--data", str(folder / "list.csv"), "--epochs", "1", "--report", "none"]
    tuned, other = tmp_path / "tuned", tmp_path / "other"
    # Without a step that matters, a network that starts from one of vectors has its answers.
    still = ["--learning-rate", "1e-12", "--run", str(tuned)]
    assert main([*begun, *OPTIONS, "--init", str(measured.path), *still]) == 0
    files = [folder / f"{i}.png" for i in range(4)]
    expected = predicted(measured.path, files)
    np.testing.assert_allclose(predicted(tuned, files), expected, rtol=1e-3, atol=1e-3)
    # One of classes gives its layers, and the end that makes vectors is new, with its own rate.
    options = [*OPTIONS[:-4], "--init", "digits-p4cnn", "--freeze", "*.layer*", "--head-rate", "3"]
    assert main([*begun, *options, "--learning-rate", "1e-3", "--run", str(other)]) == 0
    network, ready = load_predictor(Run.open(other)), load_pretrained("digits-p4cnn").model
    model = network.steps.model(network.params, network.stats)
    inner = model.model.model  # below what gives vectors, and units
    np.testing.assert_array_equal(inner.layer3.conv.kernel[...], ready.layer3.conv.kernel[...])
    assert not hasattr(inner, "top")
    numbers = ["--task", "regression", "--targets", *NAMES, "--size", "28", "--batch-size", "8"]
    back = ["--init", str(measured.path), "--run", str(tmp_path / "numbers")]
    assert main([*begun, *numbers, *back]) == 0
    capsys.readouterr()


def test_volumes_in_a_file_of_arrays(tmp_path, rng, capsys):
    """They have vectors of three components, which `target_names` names."""
    images = rng.integers(0, 40, (40, 8, 8, 8)).astype(np.uint8)
    places = rng.integers(1, 7, (40, 3))  # depth, height, width
    images[np.arange(40)[:, None], *places.T[..., None]] = 255
    labels = places[:, ::-1] - 3.5
    arrays = {"images": images, "labels": labels, "target_names": np.array(["x", "y", "z"])}
    np.savez(tmp_path / "x.npz", **(arrays | {"images": images[..., None]}))
    begun = ["folder-voxels", "--data", str(tmp_path / "x.npz"), "--task", "regression"]
    begun += [
        "--vectors",
        "x",
        "y",
        "z",
        "--width",
        "2",
        "--batch-size",
        "8",
        "--augment",
        "rotate",
    ]
    begun += ["--run", str(tmp_path / "run"), "--parallel", "jit"]
    assert main([*begun, "--epochs", "1"]) == 0
    run = Run.open(tmp_path / "run")
    assert run.results["input"]["vectors"] == [[0, 1, 2]]
    assert max(run.results["invariance_error_at_element"].values()) < 1e-3
    assert "angular error" in (run.path / "report.md").read_text(encoding="utf-8")
    begun[begun.index("z")] = "w"
    assert main([*begun[:-4], "--run", str(tmp_path / "none"), "--epochs", "1"]) == 2
    assert "`vectors` w is none of the numbers" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_beside_plain_networks(folder, tmp_path, capsys):
    begun = ["--data", str(folder / "list.csv"), *OPTIONS, "--group", "p4", "--epochs", "1"]
    begun += ["--report", "quick", "--compare-plain", "--run", str(tmp_path / "three")]
    assert main(begun) == 0
    assert "mean over 4 poses" in capsys.readouterr().out
    errors = {}
    for name in ("equivariant", "plain", "plain-rotated"):
        results = Run.open(tmp_path / "three" / name).results
        errors[name] = max(results["invariance_error_at_element"].values())
    assert errors["equivariant"] < 1e-4 < 1e-2 < min(errors["plain"], errors["plain-rotated"])
    averaged = json.loads((tmp_path / "three" / "plain-rotated" / "averaged.json").read_text())
    assert (
        max(averaged["results"]["invariance_error_at_element"][f"r{a}"] for a in (90, 180)) < 1e-4
    )


@pytest.mark.slow
def test_a_run_goes_on(folder, tmp_path):
    begun = ["--data", str(folder / "list.csv"), *OPTIONS, "--group", "p4", "--report", "none"]
    begun += ["--schedule", "constant", "--epochs", "1", "--run", str(tmp_path / "run")]
    assert main(begun) == 0
    run = Run.open(tmp_path / "run")
    first = run.results["test_loss"]
    assert main(["--resume", str(run.path), "--epochs", "2"]) == 0
    assert run.results["epochs"] == 2 and run.results["test_loss"] != first
