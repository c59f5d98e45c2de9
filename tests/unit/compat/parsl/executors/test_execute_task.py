from __future__ import annotations

import pytest

from plait.compat.parsl.executors.execute_task import execute_task
from plait.compat.parsl.serialize import pack_apply_message


def test_a_call_is_done():
    assert execute_task(pack_apply_message(int, ("11",), {"base": 2})) == 3


def test_what_it_raises_comes_through():
    with pytest.raises(ValueError, match="zork"):
        execute_task(pack_apply_message(int, ("zork",), {}))
