"""The pictures of a report, for runs of any length."""

import numpy as np
import pytest
from PIL import Image

from train.report.plots import learning_curves


@pytest.mark.parametrize("epochs", [0, 1, 2, 40])
def test_learning_curves_of_any_number_of_epochs(tmp_path, epochs):
    """None at all in the middle of the first epoch."""
    records = [
        {"epoch": i, "train_loss": 100.0 / i, "train_error": 0.5 / i, "validation_error": 0.5}
        for i in range(1, epochs + 1)
    ]
    learning_curves({"a run": records, "another": records[:1]}, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert np.asarray(image.convert("L")).std() > 5
