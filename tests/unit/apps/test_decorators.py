"""The decorators, in every form in which they are written."""

from __future__ import annotations

import pytest

import plait
from plait.apps import BashApp, JoinApp, PythonApp, bash_app, join_app, python_app
from plait.errors import BashExitFailure, ConfigurationError

FORMS = [(python_app, PythonApp, "python"), (bash_app, BashApp, "bash"), (join_app, JoinApp, "join")]


@pytest.mark.parametrize(("decorator", "cls", "kind"), FORMS)
def test_with_and_without_parentheses_and_as_a_plain_call(decorator, cls, kind):
    def function():
        """Says something."""

    for app in (
        decorator(function),
        decorator()(function),
        decorator(cache=True)(function),
        decorator(function, None, True),
    ):
        assert type(app) is cls
        assert app.spec.kind == kind
        assert app.__doc__ == "Says something."


def test_options_of_the_decorator_arrive():
    app = python_app(
        cores=2, memory="1GB", gpus=0.5, priority=3, walltime="2m", retries=plait.Retry(2), max_losses=1,
        executors=["a"], cache=True, ignore_for_cache=["x"], label="l",
    )(print)  # fmt: skip
    spec = app.spec
    assert (spec.resources.cores, spec.resources.memory_bytes, spec.resources.gpus, spec.resources.priority) == (
        2,
        10**9,
        0.5,
        3,
    )
    assert (spec.walltime_s, spec.retry.max, spec.max_losses) == (120, 2, 1)
    assert (spec.executors, spec.cache, spec.ignore_for_cache, spec.label) == (("a",), True, ("x",), "l")


@pytest.mark.parametrize("decorator", [python_app, bash_app, join_app])
def test_an_unknown_option_is_refused_and_the_known_ones_named(decorator):
    with pytest.raises(ConfigurationError, match=r"unknown option color; expected some of cache, cores"):
        decorator(color="red")(print)


def test_apps_may_be_made_before_anything_is_loaded_and_used_in_several_runs():
    app = python_app(len)
    for _ in range(2):
        with plait.load(plait.Config([plait.ThreadPoolExecutor()], initialize_logging=False, progress=False)):
            assert app("abc").result() == 3


def test_an_app_may_belong_to_one_kernel():
    config = plait.Config([plait.ThreadPoolExecutor("own")], initialize_logging=False, progress=False)
    with plait.DataFlowKernel(config) as kernel:
        assert python_app(len, data_flow_kernel=kernel)("abcd").result() == 4
        assert kernel.task_count == 1


def test_commands_give_their_exit_status():
    @bash_app
    def leave(status):
        return f"exit {status}"

    with plait.load(plait.Config([plait.ThreadPoolExecutor()], initialize_logging=False, progress=False)):
        assert leave(0).result() == 0
        error = leave(7).exception()
    assert isinstance(error, BashExitFailure)
    assert (error.app_name, error.exitcode) == ("leave", 7)
