"""Fixtures that any test may ask for."""

import jax
import jax.experimental
import numpy as np
import pytest


@pytest.fixture
def x64():
    """Float64 for one test, so that rounding cannot hide a small violation of the law."""
    # jax.experimental.enable_x64 until 0.8.
    enable_x64 = (jax if hasattr(jax, "enable_x64") else jax.experimental).enable_x64
    with enable_x64(True):
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(0)
