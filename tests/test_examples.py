"""The examples run, at small size, and show what they say."""

import runpy
from pathlib import Path

import pytest

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
