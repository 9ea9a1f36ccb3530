"""The notebook runs from the first cell to the last, on a small configuration."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "colab" / "rotated_mnist.ipynb"
SMALL = """
PRESETS_TO_TRAIN = ["digits-z2cnn", "digits-p4cnn"]
SETTINGS = {
    "epochs": 1, "train_images": 64, "test_images": 32, "batch_size": 16, "width": 2,
    "parallel": "jit",
}
"""


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def text_of(cell) -> str:
    parts = [output.get("text", "") for output in cell.outputs]
    data = [output.data for output in cell.outputs if "data" in output]
    return "".join(parts + [d.get("text/markdown", d.get("text/plain", "")) for d in data])


# Of the kernel's own machinery, which is not ours to mend.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_notebook_runs_on_a_small_configuration(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "committed without outputs"
    assert [tags(c) for c in notebook.cells if tags(c)] == [["install"], ["parameters"]]
    for cell in notebook.cells:
        if "install" in tags(cell):
            cell.source = ""
        if "parameters" in tags(cell):
            cell.source = SMALL
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
    shown = [text_of(cell) for cell in notebook.cells if cell.cell_type == "code"]
    assert "CpuDevice" in shown[1]
    table = next(text for text in shown if "equivariance error" in text)
    assert "z2cnn" in table and "p4cnn" in table and "stand-in data" in table
    assert any("layer0.conv" in text and "r270" in text for text in shown)
    assert (tmp_path / "accuracy_against_angle.png").is_file()
