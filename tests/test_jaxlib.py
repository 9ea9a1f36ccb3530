"""Programs that versions of jaxlib got wrong on a CPU, so that pyproject.toml excludes those."""

import os
import subprocess
import sys

import jaxlib
import numpy as np
import pytest

pytestmark = pytest.mark.optimized


def wrong(*versions: str) -> pytest.MarkDecorator:
    # Not strict: some processors are spared.
    excluded = jaxlib.__version__ in versions
    return pytest.mark.xfail(excluded, reason="it is excluded for this", strict=False)


# The shapes of two float32 arrays, and the axis that their product is summed over.
PROGRAMS = [
    pytest.param((3, 1, 2, 2, 8, 8, 8), (3, 1, 2, 2, 8, 8, 8), 3, marks=wrong("0.10.2")),
    pytest.param(
        (2, 4, 6, 1, 1, 1, 1, 1), (2, 4, 6, 9, 9, 9, 9, 9), 2, marks=wrong("0.10.2", "0.11.0")
    ),
    ((3, 2, 2, 2, 8, 8, 8), (3, 2, 2, 2, 8, 8, 8), 3),  # without an axis of 1
]
SUM = """
import jax, numpy as np
rng = np.random.default_rng(0)
a, b = (rng.normal(size=shape).astype(np.float32) for shape in ({a}, {b}))
actual = jax.jit(lambda a, b: (a * b).sum({axis}))(a, b)
print(np.abs(actual - (a * b).sum({axis})).max())
"""


@pytest.mark.parametrize(("a", "b", "axis"), PROGRAMS)
def test_sums_of_products_of_many_axes(a, b, axis):
    """The process of this test used to end with a segmentation fault."""
    script = SUM.format(a=a, b=b, axis=axis)
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, (run.returncode, run.stderr)
    np.testing.assert_allclose(float(run.stdout), 0, atol=1e-5)


@wrong("0.10.2")
def test_squares_of_products_with_a_matrix():
    """These squares were wrong by 1 %, without an error."""
    import jax
    import jax.numpy as jnp

    x = jnp.zeros((32_769, 3)).at[:, 0].set(jnp.arange(32_769.0))
    f = jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2))
    np.testing.assert_allclose(jax.jit(f)(x)[-1], 32_768.0**2, rtol=1e-6)
