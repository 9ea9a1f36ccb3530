"""The notebooks run from the first cell to the last, those that train on a small configuration."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "colab"
SETTINGS = {
    "dataset": "digits", "epochs": 1, "train_images": 64, "test_images": 32, "batch_size": 16,
    "width": 2, "parallel": "jit", "angles": 4,
}  # fmt: skip
SMALL = {
    "rotated_mnist": {
        "PRESETS_TO_TRAIN": ["digits-z2cnn", "digits-p4cnn"],
        "SETTINGS": SETTINGS,
    },
    "partial_equivariance": {
        "WHOLE": "mnist6-180-so2",
        "PARTIAL": "mnist6-180-so2-partial",
        "SETTINGS": SETTINGS | {"validation": 16},
    },
    "your_own_model": None,
}
"""The text in place of the cell with the tag "parameters"; None leaves it."""


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def text_of(cell) -> str:
    parts = [output.get("text", "") for output in cell.outputs]
    data = [output.data for output in cell.outputs if "data" in output]
    return "".join(parts + [d.get("text/markdown", d.get("text/plain", "")) for d in data])


def pictures_of(cell) -> int:
    return sum("image/png" in output.get("data", {}) for output in cell.outputs)


def test_all_are_here():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == SMALL.keys()


@pytest.mark.parametrize("name", SMALL)
def test_it_is_committed_without_outputs_and_opens_in_colab(name):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    assert [tags(c) for c in notebook.cells if tags(c)] == [["install"], ["parameters"]]
    assert f"/blob/main/colab/{name}.ipynb)" in notebook.cells[0].source


# These warnings come from the kernel's own machinery.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.slow  # `.ci/run` runs them with the documentation
@pytest.mark.parametrize("name", SMALL)
def test_it_runs(tmp_path, name):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        if "install" in tags(cell):
            cell.source = ""
        if "parameters" in tags(cell) and SMALL[name]:
            values = SMALL[name].items()
            cell.source = "\n".join(f"{k} = {v!r}" for k, v in values)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any("Warning" in text_of(cell) for cell in cells), "red in a shipped notebook"
    CHECKS[name]([text_of(cell) for cell in cells], sum(map(pictures_of, cells)), tmp_path)


def check_rotated_mnist(shown: list[str], pictures: int, folder: Path) -> None:
    assert "CpuDevice" in shown[1]
    table = next(text for text in shown if "| invariance error" in text)
    assert "z2cnn" in table and "p4cnn" in table and "stand-in data" in table
    assert any("layer0.conv" in text and "r270" in text for text in shown)
    assert pictures == 1 and (folder / "accuracy_against_angle.png").is_file()


def check_partial_equivariance(shown: list[str], pictures: int, folder: Path) -> None:
    table = next(text for text in shown if "| invariance error" in text)
    assert "so2/4 partial" in table
    assert any("block1.conv1 rotations within" in text for text in shown)
    assert pictures == 3, "the supports, and a digit turned before two networks"
    runs = sorted(path.name for path in (folder / "runs").iterdir())
    assert len(runs) == 2
    config = json.loads((folder / "runs" / runs[1] / "config.json").read_text())
    assert config["partial"], "the one that the notebook shows as partial"


def check_your_own_model(shown: list[str], pictures: int, folder: Path) -> None:
    report = next(text for text in shown if text.startswith("layer "))
    *lines, note = report.splitlines()[1:]
    assert note == "the larger of two: the model as it is, and perturbed"
    rows = {line.split()[0]: [float(x) for x in line.split()[1:]] for line in lines}
    assert max(rows["norm"]) < 1e-5 and max(rows["down"]) > 0.1, "the text names the first"
    assert max(rows["output"]) > 0.01
    assertion = next(text for text in shown if "invariant under all 8 elements" in text)
    assert "the first layer that breaks the law is 'down'" in assertion
    assert pictures == 3


CHECKS = {
    "rotated_mnist": check_rotated_mnist,
    "partial_equivariance": check_partial_equivariance,
    "your_own_model": check_your_own_model,
}
