"""What tests of whole runs share."""

import jax
import numpy as np

from train.checkpoint import load_tree
from train.rundir import Run
from train.session import prepare_session


def final_arrays(run: Run):
    state = prepare_session(run.config).steps.init()
    params, stats = load_tree(run.path / "model", (state.params, state.stats))
    return [np.asarray(leaf) for leaf in jax.tree.leaves((params, stats))]


def assert_same_bits(a: Run, b: Run) -> None:
    pairs = list(zip(final_arrays(a), final_arrays(b), strict=True))
    assert pairs
    for x, y in pairs:
        assert x.dtype == y.dtype and x.shape == y.shape
        np.testing.assert_array_equal(x, y)
