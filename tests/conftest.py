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


@pytest.fixture(scope="module")
def compiled_quickly():
    """Without most of XLA's optimisations: for deep networks of a few channels, which take longer
    to compile than to run. The layers by themselves are tested as users run them."""
    jax.config.update("jax_disable_most_optimizations", True)
    with pytest.MonkeyPatch.context() as patch:  # for the processes that tests start
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        yield
    jax.config.update("jax_disable_most_optimizations", False)
