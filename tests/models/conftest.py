"""A saved network that tests read, or copy and spoil."""

import numpy as np
import pytest

from gconv_jax.models import save_pretrained
from tests.models.tiny_networks import made


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A saved network with random numbers."""
    path = tmp_path_factory.mktemp("saved") / "network"
    return save_pretrained(
        made("Z2CNN", np.random.default_rng(1)),
        path,
        classes=[f"class {i}" for i in range(10)],
        image_shape=(28, 28, 1),
        image_range=(-1, 1),
        figures={"test error": 0.25},
        protocol="600 test images, one seed",
        about={"task": "a | b", "seconds": 3.5, "list": [1]},
    )
