"""Importing the library is light, and every public name says what it is."""

import importlib
import inspect
import json
import subprocess
import sys

import pytest

MODULES = ["gconv_jax", "gconv_jax.nnx", "gconv_jax.linen", "gconv_jax.testing", "gconv_jax.models"]


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that are loaded after ``statement`` in a fresh interpreter."""
    script = (
        f"import json, sys\n{statement}\nprint(json.dumps([m.split('.')[0] for m in sys.modules]))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stderr == "", "imports say nothing"
    return set(json.loads(run.stdout))


def test_core_is_jax_and_numpy_only():
    loaded = loaded_by("import gconv_jax")
    assert {"jax", "numpy", "gconv_jax"} <= loaded
    assert not loaded & {"tensorflow", "tensorflow_datasets", "optax", "chex"}
    before = loaded_by("import jax, jax.scipy.ndimage, numpy")
    assert loaded - before - sys.stdlib_module_names == {"gconv_jax"}


def test_checks_load_no_test_tools():
    loaded = loaded_by("import gconv_jax.testing")
    assert not loaded & {"tensorflow", "tensorflow_datasets", "optax", "chex", "pytest"}


@pytest.mark.parametrize(
    ("module", "flax"),
    [
        ("gconv_jax.nnx", "flax.nnx"),
        ("gconv_jax.linen", "flax.linen"),
        ("gconv_jax.models", "flax.nnx"),
    ],
)
def test_layers_load_what_flax_loads(module, flax):
    """Flax NNX itself imports Optax."""
    loaded = loaded_by(f"import {module}")
    assert not loaded & {"tensorflow", "tensorflow_datasets", "chex"}
    before = loaded_by(f"import {flax}, jax.scipy.ndimage")
    assert loaded - before - sys.stdlib_module_names == {"gconv_jax"}


def public_members(module_name: str):
    module = importlib.import_module(module_name)
    for name, value in vars(module).items():
        if name.startswith("_") or inspect.ismodule(value):
            continue
        if getattr(value, "__module__", module_name).startswith("gconv_jax"):
            yield name, value


@pytest.mark.parametrize("module", MODULES)
def test_public_names_have_docstrings(module):
    assert importlib.import_module(module).__doc__
    for name, value in public_members(module):
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        assert value.__doc__, f"{module}.{name}"
        assert not value.__doc__.startswith(f"{name}("), "a dataclass's signature is no docstring"
        if not inspect.isclass(value):
            continue
        for method_name, method in vars(value).items():
            if method_name in getattr(value, "__dataclass_fields__", ()):
                continue  # the default of a field, such as an initializer of JAX
            documented = inspect.isfunction(method) or isinstance(method, property)
            if documented and not method_name.startswith("_"):
                assert method.__doc__, f"{module}.{name}.{method_name}"


def test_public_names_of_the_core():
    """The names on which programs rely."""
    expected = {
        *("P4", "P4M", "Z2", "FiniteGroup", "cyclic", "dihedral", "mirror", "trivial"),
        *("lift_conv", "group_conv", "filter_bank", "planar_conv"),
        *("group_pool", "coset_pool", "restrict", "max_pool", "avg_pool", "upsample"),
        *("transform", "rotate", "InexactEquivarianceWarning"),
        *("SO2", "O2", "continuous_lift_conv", "continuous_group_conv", "Siren"),
    }
    names = {name for name, _ in public_members("gconv_jax")}
    assert expected <= names
    module = importlib.import_module("gconv_jax")
    assert isinstance(module.__version__, str)


def test_layers_have_the_same_names_in_both_apis():
    def layers(module):
        return {name for name, value in public_members(module) if inspect.isclass(value)} - {
            "FiniteGroup",
            *(
                "BatchNorm",
                "Temperature",
            ),  # NNX alone needs the check; Flax's own names are right in both
        }

    assert (
        layers("gconv_jax.nnx")
        == layers("gconv_jax.linen")
        >= {
            *(
                "LiftConv",
                "GroupConv",
                "ContinuousLiftConv",
                "ContinuousGroupConv",
                "PartialGroupConv",
            )
        }
    )


def test_layers_take_the_arguments_of_flax():
    """Arguments that both have, have the same names and the same defaults."""
    import flax.linen
    import flax.nnx

    import gconv_jax.linen
    import gconv_jax.nnx

    for ours, theirs in [
        (gconv_jax.nnx.LiftConv.__init__, flax.nnx.Conv.__init__),
        (gconv_jax.linen.LiftConv, flax.linen.Conv),
    ]:
        ours, theirs = (inspect.signature(f).parameters for f in (ours, theirs))
        assert set(ours) - set(theirs) == {"group", "filters", "algorithm", "kernel_transform"}
        for name in set(ours) & set(theirs) - {"kernel_init", "bias_init"}:
            default = theirs[name].default
            # One integer stands for every axis.
            assert ours[name].default == default or (default, ours[name].default) == (None, 1), name


@pytest.mark.parametrize("module", MODULES)
def test_all_names_are_importable_by_star(module):
    namespace = {}
    exec(f"from {module} import *", namespace)
    assert {name for name, _ in public_members(module)} <= set(namespace)


def test_not_loaded_in_this_check():
    """Child processes are fresh, whereas this one has loaded the test tools."""
    assert "pytest" in sys.modules
    assert "pytest" not in loaded_by("pass")
