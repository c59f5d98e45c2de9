"""Remembers what constructors were given, where they make something else of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from typing_extensions import Self
#: Flag of functions with ``**kwargs``.
_TAKES_ANY: Final = 0x08


class Given(tuple[tuple[Any, ...], dict[str, Any]]):
    """Arguments of a call: (by position, by name). They may be secrets, so they do not show themselves."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Given(…)"


class RemembersGiven:
    """Base of classes whose objects remember the arguments of their constructor."""

    _given: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """As usual; the arguments are put aside.

        Raises:
            TypeError: there is no such parameter, with the one that may have been meant.
        """
        if kwargs:
            _refuse_unknown(cls, kwargs)
        made = super().__new__(cls)
        made._given = Given((args, kwargs))
        return made


def _refuse_unknown(cls: type, kwargs: dict[str, Any]) -> None:
    """A slip of the pen in a parameter's name is answered with the right one, which Python itself does not say."""
    code = getattr(cls.__init__, "__code__", None)  # type: ignore[misc]  # whichever class's it is
    if code is None or code.co_flags & _TAKES_ANY:
        return
    known = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    for name in kwargs:
        if name not in known:
            import difflib

            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(known) or 'none'}"
            raise TypeError(f"{cls.__name__}() got an unexpected keyword argument {name!r}; {hint}")


def given_to(thing: object) -> dict[str, Any] | None:
    """The arguments by name; None when they are not known."""
    given = getattr(thing, "_given", None)
    if not isinstance(given, tuple) or len(given) != 2:
        return None
    import inspect  # rarely needed, and not by workers

    try:
        bound = inspect.signature(type(thing).__init__).bind(thing, *given[0], **given[1])
    except TypeError:
        return None  # a copy, or a class whose objects are made in another way
    found = dict(list(bound.arguments.items())[1:])
    for name, parameter in inspect.signature(type(thing).__init__).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            found.update(found.pop(name, {}))
        elif parameter.kind is parameter.VAR_POSITIONAL:
            found.pop(name, None)
    return found
