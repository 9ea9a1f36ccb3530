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


@pytest.fixture(autouse=True, scope="module")
def _compiled_quickly(request):
    """Without most of XLA's optimisations, since tests take longer to compile than to run. Modules
    marked ``optimised``, and the doctests, are compiled as users compile them."""
    if request.node.get_closest_marker("optimised"):
        yield
        return
    jax.config.update("jax_disable_most_optimizations", True)
    with pytest.MonkeyPatch.context() as patch:  # for the processes that tests start
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        yield
    jax.config.update("jax_disable_most_optimizations", False)
