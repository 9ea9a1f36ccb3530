"""Steps on eight devices are those on one."""

import dataclasses

import jax
import pytest

from tests.train.steps.test_step import assert_same, three_steps
from train.steps.parallel import Parallel

# Two programs are compared to rounding: without optimizations they round in other ways.
pytestmark = pytest.mark.optimized


@pytest.mark.parametrize("augment", [pytest.param("none", marks=pytest.mark.slow), "jitter"])
def test_eight_devices_under_pmap_equal_one_under_jit(tiny, augment):
    config = dataclasses.replace(tiny, augment=augment)
    assert jax.local_device_count() == 8
    assert_same(three_steps(config, Parallel("pmap", 8)), three_steps(config), atol=2e-5)


@pytest.mark.slow
def test_scan_under_pmap_equals_steps_under_jit(tiny):
    scanned = three_steps(tiny, Parallel("pmap", 8), loop="scan")
    assert_same(scanned, three_steps(tiny, loop="step"), atol=2e-5)
