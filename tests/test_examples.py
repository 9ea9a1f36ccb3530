"""The examples run, at small size, and show what they say."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from gconv_jax import transform
from train.config import Config
from train.loop import train

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
def test_segmentation(capsys):
    main = runpy.run_path(str(EXAMPLES / "segmentation.py"))["main"]
    overlaps = main(steps=2, images=16)
    p4m = overlaps["p4m"]
    assert max(p4m) - min(p4m) < 1e-3, "the same overlap at every quarter turn"
    assert "logits turn with the image" in capsys.readouterr().out


@pytest.mark.slow
def test_voxels():
    accuracy = runpy.run_path(str(EXAMPLES / "voxels.py"))["main"](steps=1)
    for name, orders in (("24 rotations", 24), ("48 symmetries", 48)):
        assert len(accuracy[name]) == orders
        # Rounding may decide between two equal logits.
        assert max(accuracy[name]) - min(accuracy[name]) < 0.05


@pytest.mark.slow
def test_hexagons():
    accuracy = runpy.run_path(str(EXAMPLES / "hexagons.py"))["main"](steps=1, images=8)
    assert list(accuracy) == ["plain", "p4", "p6"]
    assert all(len(a) == 25 and a[0] == a[-1] for a in accuracy.values())


@pytest.mark.slow
def test_flow(tmp_path):
    picture = tmp_path / "flow.png"
    errors = runpy.run_path(str(EXAMPLES / "flow.py"))["main"](steps=2, fields=16, picture=picture)
    assert max(errors["p4m"]) - min(errors["p4m"]) < 1e-4, "the same at all eight orientations"
    assert max(errors["plain"]) - min(errors["plain"]) > 1e-3
    assert picture.stat().st_size > 10_000


@pytest.mark.slow
def test_the_fluid_of_the_flow(x64):
    """It is incompressible, loses energy by viscosity alone, and turns as arrows do."""
    example = runpy.run_path(str(EXAMPLES / "flow.py"))
    fluid = example["Fluid"]()
    vorticity = fluid.jets(np.random.default_rng(0), 2)
    now, later = (fluid.velocity(w) for w in (vorticity, fluid.later(vorticity)))
    spectrum = np.fft.fft2(later, axes=(1, 2))
    divergence = spectrum[..., 0] * fluid.row + spectrum[..., 1] * fluid.column
    assert np.abs(divergence).max() < 1e-9
    energies = [(v**2).sum(-1).mean() / 2 for v in (now, later)]
    whirls = [np.fft.ifft2(w).real for w in (vorticity, fluid.later(vorticity))]
    loss = example["VISCOSITY"] * example["SECONDS"] * np.mean(np.square(whirls))
    assert abs((energies[0] - energies[1]) / loss - 1) < 0.1
    assert np.sqrt(((later - now) ** 2).mean()) > 0.2, "something happens"
    for turn in example["TURNS"]:
        turned = np.asarray(transform(now, **turn))
        of_turned = np.fft.fft2(
            np.fft.ifft2(1j * fluid.row * np.fft.fft2(turned[..., 1])).real
            - np.fft.ifft2(1j * fluid.column * np.fft.fft2(turned[..., 0])).real
        )
        expected = transform(later, **turn)
        np.testing.assert_allclose(fluid.velocity(fluid.later(of_turned)), expected, atol=1e-8)


@pytest.mark.slow
def test_any_model():
    """The same accuracy at all quarter turns, but for the networks that stay as they are."""
    accuracy = runpy.run_path(str(EXAMPLES / "any_model.py"))["main"](steps=2, images=16)
    for name, row in accuracy.items():
        quarters = row[::6]
        assert len(row) == 24
        if "," in name:
            assert max(quarters) - min(quarters) < 7, name  # one of 16 images, by rounding


@pytest.mark.slow
def test_digit_masks(tmp_path):
    """The program takes what the script writes."""
    runpy.run_path(str(EXAMPLES / "digit_masks.py"))["main"](tmp_path / "data", images=60)
    config = Config(
        data=tmp_path / "data", dataset="folder", task="segmentation", image_size=32,
        model=f"{Path(__file__).parent / 'train' / 'own_nets.py'}:Pixels", group="p4",
        batch_size=15, epochs=1, report="none", parallel="jit",
    )  # fmt: skip
    results = train(config, tmp_path / "run").results
    assert results["input"]["names"] == ["ground", *map(str, range(10))]
    assert results["test_images"] == 15 and results["own_test"]


@pytest.mark.slow
def test_vectors(tmp_path):
    """The program takes what the script writes, and the vectors are those of the pixels."""
    example = runpy.run_path(str(EXAMPLES / "vectors.py"))
    pixels = np.zeros((8, 8))
    pixels[0, 3:5] = 16  # a light at the top
    x, y = np.meshgrid(np.arange(32) - 15.5, np.arange(32) - 15.5)
    for degrees in (0, 30, 90, 200):
        image = np.maximum(example["drawn"](pixels, degrees, 4, -3, 0.0) - 50.0, 0)
        place = np.array([(a * image).sum() / image.sum() for a in (x, y)]) - (4, -3)
        up = -np.sin(np.deg2rad(degrees)), -np.cos(np.deg2rad(degrees))
        np.testing.assert_allclose(place / np.linalg.norm(place), up, atol=0.15)
    example["main"](tmp_path / "data", images=60)
    config = Config(
        data=tmp_path / "data" / "list.csv", dataset="folder", task="regression", image_size=32,
        vectors=("up_x", "up_y", "dx", "dy"), model="p4cnn", width=2, batch_size=15, epochs=1,
        report="none", parallel="jit",
    )  # fmt: skip
    results = train(config, tmp_path / "run").results
    assert results["input"]["vectors"] == [[0, 1], [2, 3]] and results["test_images"] == 15


@pytest.mark.slow
def test_several_labels(tmp_path):
    """The program takes what the script writes; nothing in an image is no label."""
    example = runpy.run_path(str(EXAMPLES / "several_labels.py"))
    digit = np.full((8, 8), 16.0)
    light = [example["plate"]([digit] * n, np.random.default_rng(0)) for n in range(4)]
    covered = [(image > 110).mean() for image in light]
    np.testing.assert_allclose(covered, np.arange(4) * 17**2 / 48**2, atol=0.02)
    example["main"](tmp_path / "data", images=60)
    config = Config(
        data=tmp_path / "data" / "list.csv", dataset="folder", image_size=48, model="p4cnn",
        width=2, batch_size=15, epochs=1, report="none", parallel="jit",
    )  # fmt: skip
    results = train(config, tmp_path / "run").results
    assert results["input"]["several_labels"] and results["test_images"] == 15
    assert results["input"]["names"] == [str(digit) for digit in example["DIGITS"]]


@pytest.mark.slow
def test_regression(tmp_path):
    """The program takes what the script writes, and the numbers are those of the pixels."""
    example = runpy.run_path(str(EXAMPLES / "regression.py"))
    digit = np.full((8, 8), 16.0)
    for side, ink, degrees in ((12, 60, 0), (18, 200, 90), (24, 100, 30)):
        image = example["drawn"](digit, side, ink, degrees, 0.0)
        assert abs(image.max() - 40.0 - ink) < 2
        np.testing.assert_allclose((image > 40 + ink / 2).sum(), side**2, rtol=0.05)
    example["main"](tmp_path / "data", images=60)
    config = Config(
        data=tmp_path / "data" / "list.csv", dataset="folder", task="regression", image_size=32,
        targets=example["COLUMNS"], model="p4cnn", width=2, batch_size=15, epochs=1, report="none",
        parallel="jit",
    )  # fmt: skip
    results = train(config, tmp_path / "run").results
    assert results["input"]["names"] == ["side", "ink"] and results["test_images"] == 15


@pytest.mark.slow
def test_fine_tuning(tmp_path, rng):
    arrays = {}
    for part in ("train", "test"):
        arrays[f"{part}_images"] = rng.integers(0, 256, (12, 30, 30)).astype(np.uint8)
        arrays[f"{part}_labels"] = np.arange(12) % 2
    np.savez(tmp_path / "cells.npz", **arrays)
    main = runpy.run_path(str(EXAMPLES / "fine_tuning.py"))["main"]
    few = {"images": 4, "seeds": (0,), "init": "digits-p4cnn", "channels": "grey"}
    options = ("--epochs", "1", "--batch-size", "4", "--parallel", "jit")
    errors = main(tmp_path / "cells.npz", **few, options=options)
    assert {kind: len(found) for kind, found in errors.items()} == {
        "fine-tuned": 1,
        "from nothing": 1,
    }
