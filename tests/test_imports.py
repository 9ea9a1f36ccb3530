"""Importing the library is light, and every public name says what it is."""

import ast
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

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
        own = {"group", "filters", "algorithm", "kernel_transform", "fields"}
        assert set(ours) - set(theirs) == own
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


def imports_of(top: str) -> dict[str, set[str]]:
    """The modules of a package, each with those of the package that it imports."""
    root = Path(__file__).parents[1]
    files = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (root / top).rglob("*.py")
        if "_editable" not in path.parts
    }
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        package = name if path.stem == "__init__" else name.rpartition(".")[0]
        found[name] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                above = package.split(".")[: package.count(".") + 2 - node.level]
                base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
                for alias in node.names:
                    full = f"{base}.{alias.name}"
                    found[name].add(full if full in files else base)
        found[name] = {other for other in found[name] if other in files and other != top}
    return found


def circles(edges: dict[str, set[str]]) -> set[str]:
    """Those that can be reached from themselves."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for other in edges.get(waiting.pop(), set()) - seen:
                seen.add(other)
                waiting.append(other)
        return seen

    return {name for name in edges if name in reached(name)}


@pytest.mark.parametrize("top", ["gconv_jax", "train"])
def test_there_are_no_circles_between_modules_or_packages(top):
    modules = imports_of(top)
    assert len(modules) > 40 and sum(map(len, modules.values())) > 60
    assert not circles(modules)
    packages: dict[str, set[str]] = {}
    for name, others in modules.items():
        own = name.split(".")[:2]
        if name == top:
            continue
        others = {".".join(other.split(".")[:2]) for other in others} - {".".join(own)}
        packages.setdefault(".".join(own), set()).update(others)
    assert not circles(packages)


def test_a_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == {"b", "c"}


def test_machine_code_has_one_door_and_three_users():
    """All works without it, and each part of it can be deleted."""
    used = {
        (name, other)
        for name, others in imports_of("gconv_jax").items()
        for other in others
        if "_native" in other and "_native" not in name
    }
    door = "gconv_jax._native.door"
    users = ("conv.fourier", "planar.depthwise_onednn", "planar.implementation")
    assert used == {(f"gconv_jax.{user}", door) for user in users}


def test_the_program_starts_without_jax():
    """Several processes have to meet before JAX looks for devices."""
    assert "jax" not in loaded_by("import train.__main__")
