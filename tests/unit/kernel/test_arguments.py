"""Reserved keywords of a call, read into the details of its task."""

from __future__ import annotations

from pathlib import Path

import pytest

from plait.errors import InvalidResourceSpecification
from plait.futures import AppFuture, DataFuture
from plait.kernel.arguments import AUTO_LOGNAME, RESERVED, choose_stream_names, read_reserved, refuse_remote_files
from plait.model.files import File
from plait.model.resources import parse_resources
from plait.model.task import AppSpec, Task


class Owner:
    def read_specification(self, task, spec):
        return parse_resources(spec)


def task_of(kwargs, *, accepts=None, defaults=None):
    app = AppSpec(print, "f", reserved_defaults=defaults, accepts=accepts)
    task = Task(app, (), kwargs, Owner(), 0.0)
    task.future = AppFuture(task)
    return task


def read(accepts=None, defaults=None, **kwargs):
    task = task_of(kwargs, accepts=accepts, defaults=defaults)
    return task.more(), read_reserved(task, kwargs)


def test_everything_else_passes_untouched():
    value = [1]
    _, passed = read(x=value, walltime=3)
    assert passed["x"] is value


def test_only_what_the_function_takes_is_passed():
    given = {"inputs": [], "outputs": [], "stdout": "o", "stderr": "e", "walltime": 1, "label": "l", "x": 1}
    assert set(read(**given)[1]) == set(given)
    assert set(read(accepts=frozenset({"stdout"}), **given)[1]) == {"inputs", "stdout", "x"}
    assert set(read(accepts=frozenset(), **given)[1]) == {"inputs", "x"}, (
        "which the kernel takes out when it has looked for futures"
    )


def test_lists_are_copied_and_files_in_them_are_fresh():
    file = File("a")
    inputs, outputs = [file, 1], [file, "b", Path("c")]
    details, passed = read(inputs=inputs, outputs=outputs)
    assert passed["inputs"] is not inputs
    assert passed["inputs"][0] is not file
    assert [str(f) for f in passed["outputs"]] == ["a", "b", "c"]
    assert outputs == [file, "b", Path("c")]
    assert [type(f) for f in details.outputs] == [DataFuture] * 3
    assert details.outputs[0].file_obj is file  # the caller's own


def test_the_label_is_that_of_the_call_or_of_the_app():
    def label(**kwargs):
        task = Task(AppSpec(print, "f", label="app"), (), kwargs, Owner(), 0.0)
        read_reserved(task, kwargs)
        return task.more().label

    assert label(stdout=AUTO_LOGNAME) == "app"
    assert label(label="call") == "call"


def test_limits_and_resources_are_read():
    details, _ = read(walltime="2m", parsl_resource_specification={"cores": 2, "walltime": 7}, label="l")
    assert (details.walltime_s, details.resources.cores, details.spec["cores"], details.label) == (7, 2, 2, "l")
    assert read(walltime="2m")[0].walltime_s == 120


def test_defaults_count_and_the_call_goes_first():
    assert read(defaults={"walltime": 5})[0].walltime_s == 5
    assert read(defaults={"walltime": 5}, walltime=6)[0].walltime_s == 6


def test_none_says_nothing():
    details, passed = read(inputs=None, outputs=None, stdout=None, walltime=None, parsl_resource_specification=None)
    assert (details.outputs, details.stdout, details.walltime_s, details.resources) == ([], None, None, None)
    assert passed["inputs"] is None


@pytest.mark.parametrize("value", ["text", b"bytes", Path("p"), File("f"), 3])
@pytest.mark.parametrize("name", ["inputs", "outputs"])
def test_what_is_no_list_is_refused(name, value):
    with pytest.raises(TypeError, match=f"{name}=.*expected a list"):
        read(**{name: value})


class Array:
    """As those of numpy: whether they have anything in them is no question for them."""

    def __iter__(self):
        return iter([1, 2])

    def __array__(self):
        raise NotImplementedError

    def __bool__(self):
        raise ValueError("ambiguous")


def test_what_would_lose_something_in_a_list_is_passed_as_it_is():
    array, table = Array(), {"a": [1]}
    assert read(inputs=array)[1]["inputs"] is array
    assert read(inputs=table)[1]["inputs"] is table
    with pytest.raises(TypeError, match="outputs: expected Files, paths or strings, not int"):
        read(outputs=array)


def test_a_future_is_no_list():
    with pytest.raises(TypeError, match="expected a list"):
        read(inputs=task_of({}).future)


def test_a_specification_is_a_dictionary():
    with pytest.raises(InvalidResourceSpecification, match="expected a dictionary"):
        read(parsl_resource_specification=[1])


def test_remote_files_are_refused_unless_a_copy_is_here():
    here = File("http://host/f")
    here.local_path = "copy"
    refuse_remote_files([1, "text", File("plain"), File("file:///there"), here])
    with pytest.raises(ValueError, match=r"http://host/g.*no staging provider for http://"):
        refuse_remote_files([File("http://host/g")])


def test_names_are_chosen_where_the_call_left_it_open():
    task = task_of({})
    details = task.more()
    details.stdout, details.stderr = AUTO_LOGNAME, ("e", "w")
    choose_stream_names(task, lambda t, name: f"{t.app.name}.{name}")
    assert (details.stdout, details.stderr) == ("f.stdout", ("e", "w"))
    assert details.ignore_for_cache == ("stdout",)
    assert task.kwargs == {"stdout": "f.stdout"}, "the function sees the name, not the sign for it"


def test_a_function_that_does_not_ask_is_not_told_the_name():
    task = task_of({})
    task.app.accepts = frozenset({"inputs"})
    task.more().stdout = AUTO_LOGNAME
    choose_stream_names(task, lambda *_: "chosen")
    assert task.more().stdout == "chosen"
    assert task.kwargs == {}


def test_a_file_becomes_a_future_of_its_own():
    task = task_of({})
    task.more().stderr = File("e")
    choose_stream_names(task, lambda *_: pytest.fail("nothing was left open"))
    assert isinstance(task.more().stderr, DataFuture)
    assert task.more().outputs_hidden == [task.more().stderr]


def test_true_is_not_an_auto_logname():
    task = task_of({})
    task.more().stdout = True
    choose_stream_names(task, lambda *_: "chosen")
    assert task.more().stdout is True


def test_the_names():
    assert {"inputs", "outputs", "stdout", "stderr", "walltime", "parsl_resource_specification"} <= RESERVED
