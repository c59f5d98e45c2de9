from __future__ import annotations

import math
import pickle

import pytest

import plait
from plait.compat import parsl
from plait.compat.parsl.app.app import AppBase
from plait.compat.parsl.config import Config
from plait.errors import NoDataFlowKernelError


def square(x):
    return x * x


quad = parsl.python_app(square)


@pytest.fixture
def kernel():
    with parsl.load(Config(initialize_logging=False)) as dfk:
        yield dfk


def test_decorators_with_and_without_parentheses_and_as_a_call(kernel):
    @parsl.python_app
    def bare():
        return 1

    @parsl.python_app()
    def called():
        return 2

    @parsl.bash_app
    def shell():
        return "exit 0"

    assert bare().result() == 1
    assert called().result() == 2
    assert parsl.python_app(math.sqrt)(4).result() == 2
    assert shell().result() == 0


def test_apps_may_be_made_before_there_is_a_kernel():
    early = parsl.python_app(square)
    with pytest.raises(NoDataFlowKernelError, match=r"^Must first load config$"):
        early(2)
    with parsl.load(Config(initialize_logging=False)):
        assert early(2).result() == 4
    with pytest.raises(NoDataFlowKernelError):
        early(2)


def test_a_function_that_yields_makes_an_app_as_upstream(kernel):
    @parsl.python_app
    def numbers():
        yield 1
        yield 2

    assert list(numbers().result()) == [1, 2]


def test_native_apps_still_load_the_default_by_themselves():
    with pytest.raises(NoDataFlowKernelError):
        parsl.python_app(square)(1)
    assert plait.kernel.DataFlowKernelLoader.auto_load


def test_an_app_may_be_bound_to_a_kernel(kernel):
    with parsl.DataFlowKernel(Config(initialize_logging=False)) as other:
        assert parsl.python_app(square, data_flow_kernel=other)(3).result() == 9
        assert (other.task_count, kernel.task_count) == (1, 0)


def test_what_was_said_can_be_read():
    app = parsl.python_app(square, cache=True, executors=["here"], ignore_for_cache=["x"])
    assert (app.executors, app.cache, app.ignore_for_cache, app.func, app.__name__) == (
        ["here"],
        True,
        ["x"],
        square,
        "square",
    )
    assert parsl.join_app(square).executors == ["_parsl_internal"]
    assert isinstance(app, AppBase)


def test_executors_must_be_a_list_or_all():
    with pytest.raises(ValueError, match="expected 'all' or a list"):
        parsl.python_app(square, executors=("threads",))


def test_an_app_of_a_module_arrives_as_itself():
    assert pickle.loads(pickle.dumps(quad)) is quad or pickle.loads(pickle.dumps(quad)).func is square
