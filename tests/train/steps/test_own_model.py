"""Models of the user's own: what they are given, how they train, and what is refused."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from gconv_jax import P4, dihedral
from gconv_jax.models import LinenModel
from tests.markdown import blocks_of
from train.config import Config
from train.options.own_model import parse_arguments
from train.options.plain import plain_counterpart
from train.steps.augment import Prepare
from train.steps.build_model import build_model
from train.steps.equal_parameters import count_parameters, with_parameters
from train.steps.own_model import require_own
from train.steps.step import Steps

NETS = Path(__file__).parents[1] / "own_nets.py"
SHAPE = (12, 12, 2)


def build(name: str, *, classes: int = 3, shape=SHAPE, **options):
    config = Config(model=f"{NETS}:{name}", **options)
    given = {"classes": classes, "in_features": shape[-1], "image_shape": shape}
    return build_model(config, **given)


def test_a_model_is_given_what_it_takes():
    model = build("Plain", width=4, dtype="bfloat16")
    assert model.conv.kernel.shape == (3, 3, 2, 4) and model.top.kernel.shape == (4, 3)
    assert model.conv.dtype == jnp.bfloat16 and model.norm.dtype is None
    again, other = build("Plain", width=4), build("Plain", width=4, seed=1)
    np.testing.assert_array_equal(model.top.kernel[...], again.top.kernel[...])
    assert not np.array_equal(model.top.kernel[...], other.top.kernel[...])
    assert build("Equivariant").lift.group == P4, "its own default"
    assert build("Equivariant", group="p4m").conv.group == dihedral(4)


def test_arguments_reach_a_function():
    model = build("made", model_args=("depth=2", "subgroup=p4"))
    assert model.depth == 3 and model.subgroup == P4


@pytest.mark.parametrize(("words", "values"), [
    (("a=3", "b=-.5", "c=1e-3"), {"a": 3, "b": -0.5, "c": 1e-3}),
    (("a=true", "b=False", "c=null"), {"a": True, "b": False, "c": None}),
    (("a=relu", 'b="3"', "c=3x3", "d=a=b"), {"a": "relu", "b": "3", "c": "3x3", "d": "a=b"}),
    (("a=[1, [2, x]]", "b=[]"), {"a": (1, (2, "x")), "b": ()}),
    (("groups=[p4m, z2]", "my_group=c8"), {"groups": ("p4m", "z2"), "my_group": "c8"}),
])  # fmt: skip
def test_values(words, values):
    found = parse_arguments(words)
    assert found == values
    assert all(type(found[k]) is type(v) or isinstance(v, str) for k, v in values.items())


@pytest.mark.parametrize(("words", "message"), [
    (("depth",), "must be KEY=VALUE, such as depth=3, got 'depth'"),
    (("a-b=3",), "must be KEY=VALUE"),
    (("a=",), "it is empty"),
    (("a=[1",), "a list must end with ]"),
    (('a=["x]',), "brackets and quotes must be closed"),
    (('a={"b": 1}',), "a value is a number, true, false, none, a string or a list"),
    (("a=1", "a=2"), "has a twice"),
    (("classes=3",), "classes follows the images: leave out 'classes=3'"),
    (("subgroup=p5",), "subgroup must name a group, one of z2, .*; got 'p5'"),
])  # fmt: skip
def test_arguments_that_cannot_be_read(words, message):
    with pytest.raises(ValueError, match=f"`model_args` .*{message}"):
        Config(model="net.py:Net", model_args=words)


@pytest.mark.parametrize(("options", "message"), [
    ({"model": "nets/net:Net"}, "`model` of your own must be FILE.py:NAME or MODULE:NAME"),
    ({"model": "net.py:"}, "`model` of your own must be FILE.py:NAME"),
    ({"model": "nets"}, "`model` must be one of z2cnn, .* or FILE.py:NAME"),
    ({"model": "net.py:Net", "blocks": 2}, "`blocks` is for .*, not for net.py:Net"),
    ({"model": "lenet", "model_args": ("a=1",)}, "`model_args` are for a model of your own"),
    ({"model": "net.py:Net", "compare_plain": True}, "Net is a plain one already"),
])  # fmt: skip
def test_options_that_contradict(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)


@pytest.mark.parametrize(("model", "options", "message"), [
    (f"{NETS}x.py:Net", {}, "there is no file"),
    (f"{NETS}:Missing", {}, "has no class or function Missing"),
    (f"{NETS}:number", {}, "has no class or function number"),
    ("no_such_module_of_mine:Net", {}, "there is no module no_such_module_of_mine in .*; name its"),
    ("json.missing:Net", {}, "there is no module json.missing"),
    (f"{NETS}:Other", {}, "is a class, but not of an nnx.Module or a linen.Module"),
    (f"{NETS}:instance", {}, "is a module that is made already: name its class"),
    (f"{NETS}:Plain", {"model_args": ("depth=3",)},
     "depth: .*:Plain takes width, rate, classes, in_features, dtype, rngs"),
    (f"{NETS}:Linen", {"model_args": ("depth=3",)}, "takes num_classes, width, rate$"),
    (f"{NETS}:Plain", {"group": "p4"}, "`group` p4: .*Plain takes no argument group"),
    (f"{NETS}:made", {"width": 4}, "`width` 4: .*made takes no argument width"),
    (f"{NETS}:Linen", {"dtype": "bfloat16"}, "`dtype` bfloat16: .*Linen takes no argument dtype"),
])  # fmt: skip
def test_what_is_wrong_before_images_are_read(model, options, message):
    with pytest.raises(ValueError, match=message) as found:
        require_own(Config(model=model, **options))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(("name", "options", "message"), [
    ("made", {}, "needs depth: add --model-args"),
    ("made", {"model_args": ("depth=1", "act=tanh")},
     r"cannot be built: AssertionError: tanh \(own_nets.py, line \d+\)"),
    ("nothing", {}, "must give an nnx.Module or a linen.Module, got NoneType"),
    ("empty", {}, "has no parameters"),
    ("Fixed", {}, r"must return \[N, 3\], .* and returned shape \(2, 10\) for N = 2"),
    ("Broken", {}, r"fails on images \[N, 12, 12, 2\] \(train\): .*\(own_nets.py, line \d+\)"),
    ("Grows", {}, "has other variables after a call than before"),
    ("NoMode", {}, "NoMode has batch statistics, and its __call__ takes none of train"),
])  # fmt: skip
def test_what_is_wrong_with_the_network(name, options, message):
    with pytest.raises(ValueError, match=message) as found:
        build(name, **options)
    assert "\n" not in str(found.value)


def test_a_plain_counterpart_needs_a_group_and_a_width():
    config = Config(model=f"{NETS}:Equivariant", group="p4", compare_plain=True)
    require_own(config, plain=True)
    with pytest.raises(ValueError, match=r"`compare_plain` .* takes no argument group$"):
        require_own(dataclasses.replace(config, model=f"{NETS}:Linen", group=None,
                                        compare_plain=False), plain=True)  # fmt: skip


def test_a_plain_counterpart_has_as_many_parameters():
    config = Config(model=f"{NETS}:Equivariant", group="p4", width=2)
    form = {"classes": 3, "in_features": 2, "image_shape": SHAPE}
    target = count_parameters(config, **form)
    plain, parameters = with_parameters(plain_counterpart(config), target, **form)
    assert plain.group == "z2" and plain.width > 2
    assert parameters == pytest.approx(target, rel=0.2)


def test_models_of_the_page_are_taken(tmp_path):
    """Each block that has one is a file that the program takes."""
    page = NETS.parents[2] / "docs" / "how-to" / "own-model.md"
    text = page.read_text(encoding="utf-8")
    sources = [block.body for block in blocks_of(text) if block.language == "python"]
    assert len(sources) == 2
    for source, name in zip(sources, ("Net", "LinenNet"), strict=True):
        (tmp_path / f"{name}.py").write_text(source)
        config = Config(model=f"{tmp_path / name}.py:{name}", width=2)
        form = {"classes": 3, "in_features": 2, "image_shape": SHAPE}
        model = nnx.eval_shape(lambda c=config, f=form: build_model(c, **f))
        assert isinstance(model, LinenModel) == (name == "LinenNet")


@pytest.fixture(scope="module")
def linen_steps() -> Steps:
    model = build("Linen", model_args=("rate=0.5",))
    return Steps(model, optax.sgd(0.1), Prepare(0.0, 1.0))


def test_a_linen_module_has_the_modes_of_nnx(linen_steps):
    """The same numbers as by Linen itself: in evaluation, and the statistics of a step."""
    model: LinenModel = build("Linen")
    x = jax.random.normal(jax.random.key(0), (6, *SHAPE))
    variables = model.variables.values()
    model.eval()
    expected = model.module.apply(variables, x, train=False)
    np.testing.assert_allclose(model(x), expected, atol=1e-6)
    np.testing.assert_array_equal(model(x), model(x))
    model.train()
    rngs = {"dropout": jax.random.key(3)}
    _, changed = model.module.apply(variables, x, train=True, rngs=rngs, mutable=["batch_stats"])
    first = model(x)
    found = model.variables.values()["batch_stats"]
    jax.tree.map(np.testing.assert_allclose, found, changed["batch_stats"])
    assert jax.tree.structure(found) == jax.tree.structure(variables["batch_stats"])
    second = model(x)
    assert np.abs(first - second).max() > 1e-3, "dropout draws anew"
    assert jax.tree.structure(model.variables.values()) == jax.tree.structure(variables)


def test_statistics_of_a_batch_alone_and_without_dropout(linen_steps):
    image = jax.random.uniform(jax.random.key(1), (8, *SHAPE))
    state = linen_steps.init()
    found = [linen_steps.batch_stats(state.params, state.stats, image, jax.random.key(i))
             for i in (0, 1)]  # fmt: skip
    jax.tree.map(np.testing.assert_array_equal, *found)
    first = found[0].variables.batch_stats.Block_0.BatchNorm_0
    kernel = state.params.variables.params.Block_0.Conv_0
    y = nnx.Conv(2, 3, (3, 3), strides=3, rngs=nnx.Rngs(0))
    y.kernel[...], y.bias[...] = kernel.kernel[...], kernel.bias[...]
    np.testing.assert_allclose(first["mean"][...], y(image).mean((0, 1, 2)), atol=1e-5)


def test_statistics_are_those_of_all_devices(linen_steps):
    """Batch statistics of Linen are reduced over devices, as those of NNX are."""
    image = jax.random.uniform(jax.random.key(2), (8, *SHAPE))
    state, key = linen_steps.init(), jax.random.key(0)
    several = Steps(build("Linen"), optax.sgd(0.1), Prepare(0.0, 1.0), "devices")
    expected = linen_steps.batch_stats(state.params, state.stats, image, key)
    found = jax.vmap(several.batch_stats, (None, None, 0, None), axis_name="devices")(
        state.params, state.stats, image.reshape(2, 4, *SHAPE), key
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, atol=1e-5), found, expected)
