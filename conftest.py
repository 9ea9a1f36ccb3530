"""Settings of JAX for the whole test process, made before any array is."""

import collections
import functools
import gc
import itertools
import os
import tempfile

import hypothesis
import jax
import jaxlib
import pytest
from jax._src.interpreters import mlir

# Most of the suite's time is XLA's compilation, and most of that its newer code generator, without
# which the suite takes two thirds of the time. `.ci/core` tests what users get. A flag that a later
# version does not know would end the process.
if jaxlib.version.__version_info__ <= (0, 12, 0):
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")

# Drawing takes longer than the examples of others run; fixtures are the same for all examples.
for _name, _examples in {"quick": 25, "nightly": 1000}.items():
    hypothesis.settings.register_profile(
        _name,
        max_examples=_examples,
        derandomize=_name == "quick",
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
hypothesis.settings.load_profile("quick")


FORGET_AFTER = 8
_modules = itertools.count(1)


def pytest_addoption(parser) -> None:
    parser.addoption("--planar", help="how planar convolutions are computed: xla, patches, onednn")
    parser.addoption("--algorithm", help="how group convolutions are computed: dense, fourier")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist chooses
def pytest_cmdline_main(config) -> None:
    """With ``-n``, the tests of a file run in one worker, which compiles their programs once.

    Files stay in their order, so that the last are short ones: examples of docstrings."""
    if getattr(config.option, "numprocesses", None) and config.option.dist == "no":
        config.option.dist, config.option.loadscopereorder = "loadfile", False


def pytest_configure(config) -> None:
    # Eight simulated devices, for the tests of pmap; all other tests use the first.
    jax.config.update("jax_num_cpu_devices", 8)
    if jax.default_backend() != "cpu":  # whose products of float32 numbers are rounded before
        jax.config.update("jax_default_matmul_precision", "highest")
    # Compiling is most of the suite's time: the workers of pytest-xdist share what they compile.
    # The environment is for the processes that tests start.
    cache = str(config.cache.mkdir("xla")) if hasattr(config, "cache") else tempfile.mkdtemp()
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
    _share_mlir_context()
    # Tracing makes millions of objects that live on, for the collector to look at in vain.
    gc.set_threshold(50_000, 20, 100)
    # Any test of the library proves its law for these too, if asked to.
    if config.getoption("--planar"):
        from gconv_jax.planar.implementation import planar_implementation

        config._planar = planar_implementation(config.getoption("--planar"))
        config._planar.__enter__()
    if config.getoption("--algorithm"):
        from gconv_jax.conv.algorithm import auto_algorithm

        config._algorithm = auto_algorithm(config.getoption("--algorithm"))
        config._algorithm.__enter__()


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items) -> None:
    """``@pytest.mark.one_in(n)``: of the combinations of parameters of a test, each n-th runs, and
    few more that have the values of parameters which none of these has; the others are ``slow``."""
    marked = collections.defaultdict(list)
    for item in items:
        if item.get_closest_marker("one_in") is not None:
            marked[item.nodeid.partition("[")[0]].append(item)
    for combinations in marked.values():
        runs = _few_with_all_values(combinations)
        for i, item in enumerate(combinations):
            if i not in runs:
                item.add_marker("slow")


def _few_with_all_values(items: list) -> set[int]:
    """Return the places of the items that run."""
    every = items[0].get_closest_marker("one_in").args[0]
    values = [{(k, repr(v)) for k, v in item.callspec.params.items()} for item in items]
    places = [i for i, item in enumerate(items) if item.get_closest_marker("slow") is None]
    runs = {i for i in places if i % every == 0}
    missing = set().union(*(values[i] for i in places))
    missing -= set().union(*(values[i] for i in runs))
    while missing and len(values[0]) > 1:
        best = max(places, key=lambda i: len(values[i] & missing))
        runs.add(best)
        missing -= values[best]
    return runs


def pytest_collection_finish() -> None:
    _collect_garbage()


@pytest.fixture(autouse=True, scope="module")
def _forget_programs(request):
    """Modules share small programs, and have little use for the others, which are on disk anyway:
    all are forgotten after some modules, and where those of the other kind come next."""
    optimized = request.node.get_closest_marker("optimized")
    if optimized:
        jax.clear_caches()
    yield
    if optimized or next(_modules) % FORGET_AFTER == 0:
        jax.clear_caches()
        _forget_mlir_context()
        _collect_garbage()


def _share_mlir_context() -> None:
    """Let programs be lowered in one MLIR context. JAX makes one for each, which takes a fifth of
    the time of tests with hundreds of small programs, and two thirds of their memory. The function
    is not a public one: a version of JAX without it makes its contexts as ever."""
    global _forget_mlir_context
    new = getattr(mlir, "make_ir_context", None)
    if new is None:
        return
    shared = functools.cache(new)
    _forget_mlir_context = shared.cache_clear
    # A program that is compiled while another is lowered would become a part of that.
    mlir.make_ir_context = lambda: shared() if mlir.ir.Context.current is None else new()


def _forget_mlir_context() -> None:
    """Free what programs have left in their context, where they share one."""


def _collect_garbage() -> None:
    """Collect, and let later collections pass over what is left, since modules and thousands of
    tests stay to the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _compiled_quickly(request):
    """Without most of XLA's optimizations, since tests take longer to compile than to run. Modules
    marked ``optimized`` are compiled as users compile them."""
    if request.node.get_closest_marker("optimized"):
        yield
        return
    jax.config.update("jax_disable_most_optimizations", True)
    with pytest.MonkeyPatch.context() as patch:  # for the processes that tests start
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        yield
    jax.config.update("jax_disable_most_optimizations", False)
