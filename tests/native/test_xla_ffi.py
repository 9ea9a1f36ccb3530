"""Versions of XLA's foreign function interface that are not known are refused, not read."""

import subprocess
import sys

import jax
import pytest

from gconv_jax._native import xla_ffi

# A header of another version, before anything is registered.
SCRIPT = """
import pathlib, sys, tempfile, warnings
import jax, jax.numpy as jnp
include = pathlib.Path(tempfile.mkdtemp())
if sys.argv[1]:
    major, minor = sys.argv[1].split(".")
    header = include / "xla" / "ffi" / "api" / "c_api.h"
    header.parent.mkdir(parents=True)
    header.write_text(f"#define XLA_FFI_API_MAJOR {major}\\n#define XLA_FFI_API_MINOR {minor}\\n")
jax.ffi.include_dir = lambda: str(include)
from gconv_jax import P4M, group_conv
from gconv_jax._native import door
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    assert not door.available("onednn") and not door.available("fourier")
    x, w = jnp.ones((1, 9, 9, 8, 16)), jnp.ones((3, 3, 8, 16, 16))
    y = jax.jit(lambda x: group_conv(x, w, group=P4M))(x)
    assert not door.available("onednn") and not door.available("fourier")
print(float(y[0, 4, 4, 0, 0]))
for warning in told:
    if warning.category is RuntimeWarning:
        print(warning.message)
"""


def test_the_version_at_hand_is_known():
    assert xla_ffi.OLDEST <= xla_ffi.interface_version() <= xla_ffi.NEWEST


@pytest.mark.parametrize(("version", "shown"), [("0.6", "0.6"), ("1.0", "1.0"), ("", "unknown")])
def test_another_version_is_refused_and_xla_computes(version, shown):
    command = [sys.executable, "-c", SCRIPT, version]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    value, *told = run.stdout.splitlines()
    assert float(value) == 9 * 8 * 16
    assert all(f"interface is {shown}, and those from 0.1 to 0.5 are known" in t for t in told)
    assert len(told) == len({t.split(" is installed")[0] for t in told}), "each is told once"


def test_nothing_is_registered_for_another_version(monkeypatch, tmp_path):
    monkeypatch.setattr(jax.ffi, "include_dir", lambda: str(tmp_path))
    with pytest.raises(RuntimeError, match="interface is unknown"):
        xla_ffi.register("a name of this test", lambda buffers, attributes: None)
    assert "a name of this test" not in xla_ffi._targets
