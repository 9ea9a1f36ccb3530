"""Runs that give a class to each pixel, begun as users do, against what scikit-learn says."""

import json
from pathlib import Path

import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score, jaccard_score

from tests.train.masks import draw_masks, scenes
from tests.train.runs import read_list
from train.__main__ import main
from train.config import Config
from train.run.invariance import symmetry
from train.run_folder.folder import Run
from train.steps.build_model import build_model

NAMES = ["ground", "disc", "bar"]
MASKS = ["--task", "segmentation", "--image-size", "16", "--batch-size", "8", "--parallel", "jit"]
PIXELS = ["--model", f"{Path(__file__).parent / 'own_nets.py'}:Pixels"]
"""A U-Net takes half a minute to compile."""
OPTIONS = [*MASKS, *PIXELS, "--group", "p4"]
QUICK = [*OPTIONS, "--report", "none"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = draw_masks(tmp_path_factory.mktemp("masks") / "scenes", 60, values=(0, 1, 2))
    (folder / "classes.txt").write_text("\n".join(NAMES))
    return folder


@pytest.fixture(scope="module")
def measured(folder) -> Run:
    path = folder.parent / "run"
    begun = ["--data", str(folder), *OPTIONS, "--epochs", "8", "--angles", "4"]
    begun += ["--learning-rate", "5e-2", "--augment", "shift-flip"]
    assert main([*begun, "--run", str(path)]) == 0
    return Run.open(path)


@pytest.fixture(scope="module")
def tested(measured, folder) -> tuple[np.ndarray, np.ndarray]:
    """The masks of the test images, as they are in their files, and what `predict` writes."""
    rows = map(json.loads, (measured.path / "images.jsonl").read_text().splitlines())
    names = [Path(row["file"]).name for row in rows if row["split"] == "test"]
    out = measured.path.parent / "predicted"
    files = [str(folder / "images" / name) for name in names]
    assert main(["predict", str(measured.path), *files, "--output", str(out)]) == 0
    read = [[np.asarray(Image.open(at / n)) for n in names] for at in (folder / "masks", out)]
    return np.stack(read[0]), np.stack(read[1])


def test_the_results_are_those_of_scikit_learn(measured, tested):
    true, said = tested
    results = measured.results
    assert results["input"]["names"] == NAMES and len(true) == results["test_images"] == 12
    flat = {"y_true": true.ravel(), "y_pred": said.ravel(), "average": None}
    np.testing.assert_allclose(results["by_mask_class"]["dice"], f1_score(**flat))
    np.testing.assert_allclose(results["by_mask_class"]["iou"], jaccard_score(**flat))
    assert results["dice"] == pytest.approx(f1_score(**flat).mean())
    assert results["test_error"] == pytest.approx((true != said).mean())
    assert results["dice"] > 0.8, "it has learned"


def test_masks_turn_with_their_images(measured):
    results = measured.results
    exact = results["invariance_error_at_element"]
    assert len(exact) == 4 and max(exact.values()) < 1e-4
    for name in ("dice", "iou", "accuracy"):
        values = results[f"{name}_at_angle"]
        np.testing.assert_allclose(values, values[0], atol=2e-3)  # quarter turns; ties
    assert max(results["invariance_error_at_angle"]) < 1e-4


def test_the_report_has_masks(measured):
    text = (measured.path / "report.md").read_text(encoding="utf-8")
    assert "| test pixel error | mean Dice | mean IoU |" in " ".join(text.split())
    for title in ("Classes of pixels", "The lowest overlaps", "Dice against rotation angle"):
        assert f"\n## {title}\n" in text
    assert "cross-entropy of each pixel" in text and "with masks of 3 classes" in text
    for name in ("predictions.png", "worst_masks.png", "dice_against_angle.png"):
        assert (measured.path / name).stat().st_size > 1000
    page = (measured.path / "report.html").read_text(encoding="utf-8")
    assert "Classes of pixels" in page and "no page was written" not in page
    assert all(row["file"].startswith("images/") for row in measured.results["worst_masks"])
    json.dumps(measured.results, allow_nan=False)


def test_predictions_have_shares_and_sizes(measured, folder, tmp_path, capsys):
    run, large = str(measured.path), tmp_path / "new" / "below" / "large.png"
    large.parent.mkdir(parents=True)
    Image.open(folder / "images" / "0.png").resize((48, 24)).save(large)
    (tmp_path / "new" / "broken.png").write_text("no image")
    assert main(["predict", run, str(tmp_path / "new"), "--output", str(tmp_path / "out")]) == 2
    assert "broken.png" in capsys.readouterr().err
    mask = Image.open(tmp_path / "out" / "below" / "large.png")
    assert mask.size == (48, 24) and mask.mode == "P"
    rows = read_list(tmp_path / "out" / "shares.csv")
    assert list(rows[0]) == ["path", "error", *NAMES]
    row = next(row for row in rows if row["path"].endswith("large.png"))
    for c, name in enumerate(NAMES):
        assert float(row[name]) == pytest.approx((np.asarray(mask) == c).mean(), abs=1e-6)
    assert main(["predict", run, str(large), "--output", str(tmp_path / "x.json")]) == 0
    (said,) = json.loads((tmp_path / "x.json").read_text())
    assert said["shares"] == {name: float(row[name]) for name in NAMES}
    capsys.readouterr()
    assert main(["predict", run, str(large)]) == 0
    assert f"large.png: ground {100 * said['shares']['ground']:.2f} %" in capsys.readouterr().out
    for words, message in (
        (["--output", str(tmp_path / "out")], "must be a new or empty folder"),
        (["--top", "2"], "`top` is for classes, and the network predicts masks"),
    ):
        assert main(["predict", run, str(large), *words]) == 2
        assert message in capsys.readouterr().err


def test_other_commands_take_the_run_or_say_why_not(measured, folder, tmp_path, capsys):
    run = str(measured.path)
    new = draw_masks(tmp_path / "new", 6, seed=7, values=(0, 1, 2))
    assert main(["evaluate", run, "--data", str(new)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "is a new set of 6 images: pixel error" in printed and "class disc: Dice" in printed
    assert main(["predict", run, str(new / "images"), "--output", str(tmp_path / "out")]) == 0
    true, said = (
        np.stack([np.asarray(Image.open(at / f"{i}.png")) for i in range(6)])
        for at in (new / "masks", tmp_path / "out")
    )
    dice = f1_score(true.ravel(), said.ravel(), average="macro")
    assert f"mean Dice {100 * dice:.2f} %" in printed
    Image.new("L", (16, 16), 9).save(new / "masks" / "0.png")
    assert main(["evaluate", run, "--data", str(new)]) == 2
    assert "masks/0.png: it has the value 9, and the classes are 0, 1, 2" in capsys.readouterr().err
    assert main(["evaluate", run, "--split", "validation"]) == 0
    assert "validation pixel error" in capsys.readouterr().out
    words = ["features", run, str(folder / "images"), "--output", str(tmp_path / "x.npz")]
    assert main(words) == 2
    assert "`features` are of whole images" in capsys.readouterr().err


def test_another_program_says_the_same(measured, tested, tmp_path, capsys):
    _, said = tested
    path = tmp_path / "net.stablehlo"
    assert main(["export", str(measured.path), "--out", str(path)]) == 0
    assert "np.unique(mask)" in capsys.readouterr().out
    rows = map(json.loads, (measured.path / "images.jsonl").read_text().splitlines())
    files = [row["file"] for row in rows if row["split"] == "test"]
    data = measured.config.data
    pixels = np.stack([np.asarray(Image.open(data / name))[..., None] for name in files])
    answers = jax.export.deserialize(bytearray(path.read_bytes())).call(pixels)
    np.testing.assert_array_equal(np.asarray(answers).argmax(-1), said)
    about = json.loads(path.with_name("net.stablehlo.json").read_text())
    assert about["output"]["shape"] == ["N", 16, 16, 3] and about["labels"].endswith("each pixel")


def test_seeds_stop_and_go_on(folder, tmp_path, capsys):
    begun = ["--data", str(folder), *QUICK, "--seeds", "2", "--epochs", "2", "--patience", "3"]
    begun += ["--metric", "dice", "--loss", "dice", "--class-weights", "balanced"]
    begun += ["--schedule", "constant", "--augment", "rotate"]
    assert main([*begun, "--run", str(tmp_path / "runs")]) == 0
    printed = capsys.readouterr().out
    assert "over 2 seeds, mean Dice " in printed and "the highest validation Dice" in printed
    run = Run.open(tmp_path / "runs" / "seed1")
    assert main(["--resume", str(run.path), "--epochs", "3"]) == 0
    assert run.results["epochs"] == 3 and "validation_dice" in run.metrics()[-1]
    mask = folder / "masks" / "0.png"
    kept = mask.read_bytes()
    Image.new("L", (16, 16), 1).save(mask)
    assert main(["--resume", str(run.path), "--epochs", "4"]) == 2
    assert "relabeled (images/0.png)" in capsys.readouterr().err
    mask.write_bytes(kept)


def test_images_on_the_disk_give_the_same(folder, tmp_path):
    found = []
    for name, more in (("memory", []), ("disk", ["--loader", "grain"])):
        begun = ["--data", str(folder), *QUICK, "--epochs", "1", "--augment", "jitter", *more]
        assert main([*begun, "--run", str(tmp_path / name)]) == 0
        found.append(Run.open(tmp_path / name).results)
    assert found[0]["by_mask_class"] == found[1]["by_mask_class"]


def test_volumes(tmp_path, capsys):
    images, masks = scenes(24, side=8, rank=3)
    arrays = {"images": images[..., None], "masks": masks, "class_names": ["ground", "ball"]}
    np.savez(tmp_path / "x.npz", **arrays)
    begun = ["--data", str(tmp_path / "x.npz"), *MASKS[:2], *MASKS[4:], *PIXELS, "--width", "2"]
    begun += ["--group", "about-depth", "--epochs", "1", "--augment", "rotate"]
    assert main([*begun, "--run", str(tmp_path / "run")]) == 0
    assert "this is the recipe folder-voxel-masks" in capsys.readouterr().out
    run = Run.open(tmp_path / "run")
    depth = run.results["dice_at_quarter_turn"]["depth"]
    np.testing.assert_allclose(depth, depth[0], atol=1e-3)
    assert max(run.results["invariance_error_at_element"].values()) < 1e-4
    text = (run.path / "report.md").read_text()
    assert "Mean Dice from" in text and (run.path / "predictions.png").is_file()
    np.save(tmp_path / "new.npy", images[0][:6])
    out = tmp_path / "out"
    assert main(["predict", str(run.path), str(tmp_path / "new.npy"), "--output", str(out)]) == 0
    assert np.load(out / "new.npy").shape == (6, 8, 8)
    assert main(["evaluate", str(run.path), "--data", str(tmp_path / "x.npz")]) == 0


def test_sizes_that_a_unet_does_not_take_are_named_with_one_that_it_does(folder, tmp_path, capsys):
    size = [*MASKS[:2], "--image-size", "20", *MASKS[4:], "--width", "2"]
    begun = ["--data", str(folder), *size, "--run", str(tmp_path / "run")]
    assert main(begun) == 2
    assert "divisible by 8 (2**depth)" in (error := capsys.readouterr().err)
    assert "choose --image-size 24" in error and not (tmp_path / "run").exists()
    words = ["--data", str(folder), "--task", "segmentation", "--model", "resnet"]
    assert main(words) == 2
    assert "choose unet or group-unet" in capsys.readouterr().err


@pytest.mark.parametrize(("model", "group"), [("unet", None), ("group-unet", "p4"),
                                              ("unet", "octahedral")])  # fmt: skip
def test_the_networks_give_a_class_to_each_pixel(model, group):
    config = Config(model=model, group=group, task="segmentation", dataset="folder", width=8)
    sides = (8,) * (3 if group == "octahedral" else 2)
    image = jax.ShapeDtypeStruct((2, *sides, 1), jnp.float32)
    made = jax.eval_shape(lambda x: build_model(config, classes=5, in_features=1)(x), image)
    assert made.shape == (2, *sides, 5)
    assert symmetry(config).order == {None: 8, "p4": 4, "octahedral": 24}[group]
