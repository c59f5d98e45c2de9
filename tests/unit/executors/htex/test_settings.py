from __future__ import annotations

import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.executors.htex.settings import InterchangeSettings, ManagerSettings

BOTH = [InterchangeSettings, ManagerSettings]


def example(cls, **changes):
    """Settings with some value for each field without a default."""
    some = {str: "x", int: 1, float: 1.0, bytes: b"\x80\x05", bool: True}
    values = {}
    for name, kind in typing.get_type_hints(cls).items():
        origin = typing.get_origin(kind)
        if origin in {list, dict}:
            values[name] = origin()
        elif origin is tuple:
            values[name] = (1, 2)
        else:
            values[name] = some.get(kind)
    return cls(**{**values, **changes})


@pytest.mark.parametrize("cls", BOTH)
def test_they_come_out_as_they_went_in(cls):
    settings = example(cls)
    assert msgspec.json.decode(msgspec.json.encode(settings), type=cls) == settings


@given(st.text(), st.binary())
def test_any_text_and_bytes_survive(text, data):
    settings = example(InterchangeSettings, label=text, policy=data, server_secret=text)
    assert msgspec.json.decode(msgspec.json.encode(settings), type=InterchangeSettings) == settings


@pytest.mark.parametrize("cls", BOTH)
def test_what_is_not_known_is_refused(cls):
    fields = msgspec.to_builtins(example(cls))
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({**fields, "surprise": 1}, cls)


@pytest.mark.parametrize("cls", BOTH)
def test_nothing_required_may_be_missing(cls):
    for name in cls.__struct_fields__:
        fields = msgspec.to_builtins(example(cls))
        del fields[name]
        if name in {field.name for field in msgspec.structs.fields(cls) if not field.required}:
            msgspec.convert(fields, cls)
        else:
            with pytest.raises(msgspec.ValidationError, match=name):
                msgspec.convert(fields, cls)


@pytest.mark.parametrize("cls", BOTH)
def test_every_setting_is_explained(cls):
    for name in cls.__struct_fields__:
        assert name in cls.__doc__


def test_a_manager_is_not_told_the_interchanges_secret():
    assert "server_secret" not in ManagerSettings.__struct_fields__
