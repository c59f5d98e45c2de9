from __future__ import annotations

import pickle
import traceback

import pytest

from plait.compat.parsl.app.errors import RemoteExceptionWrapper, wrap_error


@wrap_error
def divide(a, b):
    try:
        return a / b
    except ZeroDivisionError as error:
        raise ValueError("no number") from error


def test_a_result_is_a_result():
    assert divide(4, 2) == 2


def test_an_exception_is_a_value_that_can_be_sent_with_traceback_and_cause():
    wrapper = pickle.loads(pickle.dumps(divide(1, 0)))
    assert isinstance(wrapper, RemoteExceptionWrapper)
    assert wrapper.e_type is ValueError
    error = wrapper.get_exception()
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert "in divide" in "".join(traceback.format_exception(error))
    with pytest.raises(ValueError, match="no number"):
        wrapper.reraise()
