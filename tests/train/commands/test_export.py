"""Exported networks classify image files as `predict` does, in a process without the library."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gconv_jax.export import read_image
from tests.markdown import blocks_of
from tests.train.runs import untrained_run
from train.__main__ import main
from train.commands import export as exporting
from train.commands.predict import Predict, predict
from train.config import Config
from train.run.predictor import load_predictor
from train.run_folder.folder import Run

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to" / "deploy.md"
PLAIN = Config(model="lenet", group="z2", width=2)
FOLDER = dataclasses.replace(PLAIN, dataset="folder", data=Path("photos"), image_size=28)
CONFIGS = {
    "digits": (PLAIN, (28, 28, 1), None),
    "color": (FOLDER, (28, 28, 3), ["bird", "cat", "dog", "élan"]),
    "whitened": (
        dataclasses.replace(FOLDER, preprocess="whiten"),
        (28, 28, 1),
        ["day", "night", "dusk"],
    ),
}
READING = {"ink": "light", "range": [20.0, 300.0], "ground": "white"}
"""The reading of the run in color; the others are as runs of earlier versions are."""


@pytest.fixture(scope="module", params=CONFIGS)
def run(request, tmp_path_factory) -> Run:
    """A finished run with random parameters. Its network sees how an image is turned."""
    config, shape, names = CONFIGS[request.param]
    reading = {"reading": READING} if request.param == "color" else {}
    path = tmp_path_factory.mktemp(request.param) / "run"
    return untrained_run(config, path, shape, names, reading)


def odd_files(folder: Path) -> list[Path]:
    """Files that a plain reader gets wrong, of an image without symmetry."""
    y, x = np.mgrid[:60, :90] / 90
    rgb = np.stack([255 * x, 250 * y, 220 * (1 - x) * (1 - y)], -1).astype(np.uint8)
    photo, exif = Image.fromarray(rgb), Image.Exif()
    exif[0x0112] = 6
    paper = np.full((50, 40), 245, np.uint8)
    paper[5:30, 8:14] = paper[24:30, 8:35] = 30
    photo.save(folder / "turned.jpg", exif=exif)
    photo.resize((1800, 1200)).save(folder / "large.jpg")
    Image.fromarray((paper.astype(np.uint16) - 20) * 200).save(folder / "deep.png")
    seen = photo.copy()
    seen.putalpha(Image.fromarray((255 * (x + y > 0.8)).astype(np.uint8)))
    seen.save(folder / "transparent.png")
    photo.quantize(16).save(folder / "palette.png", transparency=3)
    Image.fromarray(paper).save(folder / "gray.png")
    photo.resize((3, 2)).save(folder / "tiny.png")
    photo.resize((400, 9)).save(folder / "wide.webp", lossless=True)
    photo.convert("CMYK").save(folder / "print.tif")
    photo.save(folder / "frames.gif", save_all=True, append_images=[Image.new("RGB", (90, 60))])
    return sorted(folder.iterdir())


def plainly_read(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    with Image.open(path) as image:
        gray = image.convert("L" if shape[-1] == 1 else "RGB")
    return np.asarray(gray.resize(shape[1::-1])).reshape(shape)


WITHOUT = """
import runpy
import sys

without = sys.argv.pop(1).split(",")


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in without:
            raise ModuleNotFoundError(f"no {name}")


sys.meta_path.insert(0, Absent())
program = sys.argv.pop(1)
found = runpy.run_path(program, run_name="__main__")
assert not set(without) & {name.partition(".")[0] for name in sys.modules}
import numpy
numpy.save("probabilities.npy", found["probabilities"])
"""
LIBRARY = ["gconv_jax", "train", "flax", "optax", "orbax"]


def classify(program: Path, files: list[Path], without: list[str]) -> tuple[np.ndarray, str]:
    """Return the probabilities that a program writes, in a process that has none of some packages,
    and what it prints."""
    words = [sys.executable, "-c", WITHOUT, ",".join(without), program.name, *map(str, files)]
    ran = subprocess.run(words, cwd=program.parent, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return np.load(program.parent / "probabilities.npy"), ran.stdout


@pytest.mark.one_in(4)
@pytest.mark.parametrize(("run", "form"), [
    *((name, "onnx") for name in CONFIGS), ("digits", "stablehlo"),
    *(pytest.param(name, "stablehlo", marks=pytest.mark.slow) for name in ("color", "whitened")),
], indirect=["run"])  # fmt: skip
def test_another_program_gives_the_probabilities_of_predict(run, form, tmp_path, capsys):
    if form == "onnx":
        pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
        pytest.importorskip("onnx", reason="pip install 'gconv_jax[onnx]'")
    (tmp_path / "images").mkdir()
    files = odd_files(tmp_path / "images")
    expected = predict(Predict(run.path, tuple(files)), log=lambda line: None)
    out = tmp_path / "deployed" / f"network.{form}"
    out.parent.mkdir()
    assert main(["export", str(run.path), "--format", form, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    # The program is the one that the command prints.
    lines = [line[2:] for line in printed.splitlines() if not line or line.startswith("  ")]
    program = out.parent / "classify.py"
    program.write_text("\n".join(lines), encoding="utf-8")
    without = LIBRARY + (["jax", "jaxlib"] if form == "onnx" else ["onnxruntime"])
    found, answers = classify(program, files, without)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    network = load_predictor(run)
    assert answers == f"{[network.name(i) for i in expected.argmax(-1)]}\n"
    assert expected.std(0).max() > 1e-2, "images are told apart"
    kept = {out.name, "classify.py", "read_image.py", "probabilities.npy", "__pycache__"}
    json_beside = {f"{out.name}.json"} if form == "stablehlo" else set()
    assert {path.name for path in out.parent.iterdir()} <= kept | json_beside
    # A negative control: what a plain reader makes of the same files.
    naive = [plainly_read(path, network.shape) for path in files]
    off = np.abs(network.probabilities(naive) - expected).max(-1)
    assert (off > 1e-3).sum() >= len(files) - 2


def test_the_guide_shows_that_program():
    blocks = {b.body for b in blocks_of(HOW_TO.read_text(encoding="utf-8")) if b.language == "py"}
    words = {"reader": "read_image"}
    shown = {
        exporting.USE[form].format(path=f"model.{form}", **words) for form in ("onnx", "stablehlo")
    }
    assert blocks == shown


def test_a_network_says_what_goes_with_it(run):
    network = load_predictor(run)
    about = exporting.description(network)
    assert about["classes"] == [network.name(i) for i in range(network.classes)]
    own = run.config.dataset == "folder"
    expected = READING if "color" in str(run.path) else {"ink": "light" if own else "auto"}
    assert about["image"] == {"size": list(network.shape)} | expected
    assert about["range"] == [0, 255] and about["input"]["dtype"] == "uint8"
    steps = " ".join(about["steps"])
    scaled = "brightness scaled so that 20 becomes 0 and 300 255, and cut off there" in steps
    assert scaled == ("range" in expected) == ("transparent parts on white" in steps)
    assert ("are inverted" in steps) == (not own)
    assert ("whitened" in steps) == (run.config.preprocess == "whiten") != ("0.4" in steps)
    assert json.loads(json.dumps(about)) == about


def test_the_copy_is_the_reader_and_replaces_no_other_file(run, tmp_path, capsys):
    command = ["export", str(run.path), "--out", str(tmp_path / "net")]
    for _ in range(2):  # its own files are replaced
        assert main(command) == 0
    text = (tmp_path / "read_image.py").read_text()
    assert text.split("\n", 1)[1] == exporting.reader_source(volumes=False)
    imports = re.findall(r"^ *(?:from|import) (gconv_jax|tifffile)", text, re.MULTILINE)
    assert imports == ["tifffile"], "and that where it is needed"
    about = json.loads((tmp_path / "net.json").read_text())
    assert about == exporting.description(load_predictor(run))
    (tmp_path / "net").unlink()
    for name, content in (("read_image.py", "import mine\n"), ("net.json", '{"model": 1}')):
        before = (tmp_path / name).read_text()
        (tmp_path / name).write_text(content)
        capsys.readouterr()
        assert main(command) == 2
        assert f"`out`: {tmp_path / name} is another program's file" in capsys.readouterr().err
        assert not (tmp_path / "net").exists() and (tmp_path / name).read_text() == content
        (tmp_path / name).write_text(before)


@pytest.mark.parametrize(("size", "ink", "message"), [
    ((28, 28, 17), "auto", "`size` must be .* got .28, 28, 17"), ((0, 9, 1), "auto", "`size` must"),
    ((28, 28, 1), "blue", "`ink` must be one of auto, light, dark, got 'blue'"),
])  # fmt: skip
def test_a_size_or_an_ink_that_is_none_is_named(tmp_path, size, ink, message):
    Image.new("L", (9, 9)).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / "x.png", size, ink)


def test_without_pillow_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"read_image needs Pillow: pip install 'gconv_jax"):
        read_image("x.png", (28, 28, 1))
