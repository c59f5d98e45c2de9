"""Messages of every kind, as Hypothesis makes them."""

from __future__ import annotations

import typing
from typing import Any

import msgspec
from hypothesis import strategies as st

from plait.executors.htex import messages as m

ints = st.integers(-(2**63), 2**64 - 1)
floats = st.floats(allow_nan=False)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type, msgspec's view of it."""
    info = msgspec.inspect
    if isinstance(kind, info.IntType):
        return ints
    if isinstance(kind, info.FloatType):
        return floats
    if isinstance(kind, info.StrType):
        return st.text(max_size=20)
    if isinstance(kind, info.BytesType):
        return st.binary(max_size=50)
    if isinstance(kind, info.BoolType):
        return st.booleans()
    if isinstance(kind, info.NoneType):
        return st.none()
    if isinstance(kind, info.ListType):
        return st.lists(values(kind.item_type), max_size=4)
    if isinstance(kind, info.VarTupleType):
        return st.lists(values(kind.item_type), max_size=4).map(tuple)
    if isinstance(kind, info.TupleType):
        return st.tuples(*map(values, kind.item_types))
    if isinstance(kind, info.UnionType):
        return st.one_of(*map(values, kind.types))
    if isinstance(kind, info.StructType):
        return struct(kind.cls)
    raise NotImplementedError(kind)


def struct(cls: type) -> st.SearchStrategy[Any]:
    """Any instance of a message or of what messages hold."""
    found = typing.cast("msgspec.inspect.StructType", msgspec.inspect.type_info(cls))
    return st.builds(cls, **{field.name: values(field.type) for field in found.fields})


kinds = st.sampled_from(sorted(m.KINDS.values(), key=lambda kind: kind.__name__))
messages = kinds.flatmap(struct)
