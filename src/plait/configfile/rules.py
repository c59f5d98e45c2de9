"""What administrators say about everybody's configurations, in a file of the system: defaults, pins, limits.

Rules are looked at wherever a configuration comes into being, from a file or from Python, and again when it is loaded. They keep honest people
within bounds and tell them where these are; who may submit what is decided by the scheduler.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from plait._util.given import Given, given_to
from plait.configfile.kinds import UnknownName, find_class, find_reference, short_names
from plait.configfile.reading import literal
from plait.configfile.signatures import PORTS, parameters
from plait.configfile.system import files
from plait.configfile.toml import Lines, parse, read_text, show
from plait.errors import ConfigurationError
from plait.model.units import parse_bytes, parse_duration
from plait.providers.base import ExecutionProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from plait.configfile.toml import Path

_KINDS: Final = ("defaults", "pinned", "limits", "allowed")


@dataclass(frozen=True)
class Rules:
    """One file of rules: for each kind, class name -> parameter -> value.

    Attributes:
        source: the file.
        defaults: for parameters that a configuration file leaves out.
        pinned: values that nobody may change.
        limits: the most that may be asked for.
        allowed: lists of the values that there may be.
        contact: what to say to those who need more.
    """

    source: str
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pinned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    limits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    allowed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    contact: str = "ask your administrators"

    def of(self, kind: str, cls: type) -> dict[str, Any]:
        """What a kind of rules says about a class: of rules for it and for the classes above it the nearest counts."""
        found: dict[str, Any] = {}
        tables: Mapping[str, Mapping[str, Any]] = getattr(self, kind)
        for each in reversed(cls.__mro__):
            found.update(tables.get(each.__name__, {}))
            found.update(tables.get(f"{each.__module__}:{each.__qualname__}", {}))
        return {name: value for name, value in found.items() if name in parameters(cls)}

    def table_of(self, kind: str, cls: type, name: str) -> str:
        """The table that what `of` says of a parameter stands in."""
        tables: Mapping[str, Mapping[str, Any]] = getattr(self, kind)
        names = (each for base in cls.__mro__ for each in (f"{base.__module__}:{base.__qualname__}", base.__name__))
        table = next(each for each in names if name in tables.get(each, {}))
        return f"[{kind}.{literal(table) if ':' in table else table}]"


class OutOfBounds(ConfigurationError):
    """A rule forbids a value.

    Attributes:
        about: identity of the object that has it, and the parameter's name; with it a file's line is found.
        why: the message without the object.
    """

    about: tuple[int, str] = (0, "")
    why = ""


_read: dict[str, tuple[tuple[int, int, int], Rules]] = {}


def system_rules() -> list[Rules]:
    """The rules of this machine; none on most. A file is read again when it has changed.

    Raises:
        ConfigurationError: a file is wrong. Nothing runs without the rules that it was meant to give.
    """
    found = []
    for path in files():
        info = os.stat(path)
        state = (info.st_mtime_ns, info.st_size, info.st_ino)
        known = _read.get(path)
        if known is None or known[0] != state:
            known = _read[path] = (state, read_rules(path))
        found.append(known[1])
    return found


def read_rules(path: str) -> Rules:
    """Reads one file.

    Raises:
        ConfigurationError: naming the file, the line and the key.
    """
    text = read_text(path)
    document = parse(text, path)
    lines = Lines(text)

    def wrong(where: Path, problem: str) -> ConfigurationError:
        line = lines.find(where)
        return ConfigurationError(f"{path}{f', line {line}' if line else ''}: {show(where)}{problem}")

    contact = document.pop("contact", Rules.contact)
    if not isinstance(contact, str):
        raise wrong(("contact",), f" = {literal(contact)}: expected text")
    for kind, tables in document.items():
        if kind not in _KINDS:
            close = difflib.get_close_matches(kind, _KINDS, 1)
            hint = f"did you mean {close[0]}?" if close else f"expected some of {', '.join(_KINDS)}, contact"
            raise wrong((kind,), f": there is no such table; {hint}")
        if not isinstance(tables, dict) or not all(isinstance(each, dict) for each in tables.values()):
            raise wrong((kind,), f": expected tables of classes, such as [{kind}.SlurmProvider]")
        for name, table in tables.items():
            for parameter, value in table.items():
                problem = _problem(kind, name, parameter, value)
                if problem:
                    raise wrong((kind, name, parameter), problem)
    return Rules(source=path, contact=contact, **document)


def _problem(kind: str, name: str, parameter: str, value: Any) -> str:
    """What is wrong with a rule; empty for nothing. A rule with a slip of the pen would otherwise bind nobody, without a word."""
    try:
        known = _parameters(name)
    except UnknownName as error:
        return f": {error}"
    if known is not None and parameter not in known:
        close = difflib.get_close_matches(parameter, known, 1, 0.6)
        return f": there is no such parameter of {name}" + (f"; did you mean {close[0]}?" if close else "")
    if kind == "allowed" and not isinstance(value, list):
        return f" = {literal(value)}: expected a list of values"
    if kind == "limits" and _amount(value) is None:
        return f' = {literal(value)}: expected a number, a time such as "24:00:00", or a size such as "4GB"'
    return ""


def _parameters(name: str) -> set[str] | None:
    """Of a class, or of all that are made from a port; None when it is a user's, which need not be there.

    Raises:
        UnknownName: there is no such class.
    """
    if ":" in name:
        return None
    if name == "Config":
        return set(parameters(find_reference("plait.config:Config")))
    port = PORTS.get(name) or (ExecutionProvider if name == "ClusterProvider" else None)
    if port is None:
        return set(parameters(find_class(name)))
    return {parameter for each in short_names(port) for parameter in parameters(find_class(each))}


# ------------------------------------------------------------------ applying
def defaults_of(cls: type) -> dict[str, Any]:
    """What the rules say for parameters that a file leaves out; pins too."""
    found: dict[str, Any] = {}
    for rules in system_rules():
        found.update(rules.of("defaults", cls))
        found.update(rules.of("pinned", cls))
    return found


def enforce(thing: Any) -> None:
    """Looks at an object and all that it is made of.

    What is pinned and was not said is filled in; what was not said and whose default is more than a limit becomes the limit.

    Raises:
        ConfigurationError: naming the system's file, the key, the value and what is allowed.
    """
    all_rules = system_rules()
    if all_rules:
        _enforce(thing, all_rules, set())


def permits(thing: Any, name: str, value: Any) -> bool:
    """Whether a parameter of an object may be given a value."""
    cls = type(thing)
    return all(
        rules.of("pinned", cls).get(name, value) == value
        and value in rules.of("allowed", cls).get(name, [value])
        and (name not in rules.of("limits", cls) or not _exceeds(name, value, rules.of("limits", cls)[name]))
        for rules in system_rules()
    )


def _enforce(thing: Any, all_rules: Sequence[Rules], seen: set[int]) -> bool:
    """Whether the object, or one in it, is another now. What is inside comes first."""
    if id(thing) in seen:
        return False
    seen.add(id(thing))
    changed = False
    for each in objects_in(thing):
        changed |= _enforce(each, all_rules, seen)
    values: dict[str, Any] = {}
    for rules in all_rules:
        values |= _pins(thing, rules) | _caps(thing, rules)
        _check_allowed(thing, rules)
    if values or (changed and isinstance(thing, ExecutionProvider)):  # one that drives another has a copy of it
        _make_again(thing, values)
        return True
    return changed


def _pins(thing: Any, rules: Rules) -> dict[str, Any]:
    """What must be filled in."""
    values = {}
    for name, value in rules.of("pinned", type(thing)).items():
        if _is(thing, name, value):
            continue
        if _was_said(thing, name):
            raise _refusal(thing, name, rules, "pinned", f"it is always {literal(value)} here; leave it out")
        values[name] = value
    return values


def _caps(thing: Any, rules: Rules) -> dict[str, Any]:
    """What nobody has asked for, and is too much: it becomes the most that there may be."""
    values = {}
    for name, cap in rules.of("limits", type(thing)).items():
        why = _exceeds(name, getattr(thing, name, None), cap)
        if why and _was_said(thing, name):
            raise _refusal(thing, name, rules, "limits", why)
        if why:
            values[name] = cap
    return values


def _check_allowed(thing: Any, rules: Rules) -> None:
    for name, values in rules.of("allowed", type(thing)).items():
        now = getattr(thing, name, None)
        if now is not None and now not in values:
            raise _refusal(thing, name, rules, "allowed", f"expected {' or '.join(map(literal, values))} here")


def _is(thing: Any, name: str, value: Any) -> bool:
    """Whether a parameter has a value, or is what the constructor made of that."""
    now = getattr(thing, name, None)
    if _plain(now) == _plain(value):
        return True
    given = given_to(thing)
    if given is None or _plain(given.get(name)) != _plain(value):
        return False
    return bool(_plain(getattr(type(thing)(**given), name, None)) == _plain(now))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _was_said(thing: Any, name: str) -> bool:
    """Whether somebody has chosen a value: as an argument, or by changing the object since."""
    default = parameters(type(thing))[name].default
    now = getattr(thing, name, None)
    given = given_to(thing)
    if given is None:
        return bool(now != default)
    if name in given and given[name] != default:
        return True
    return bool(now != default) and _plain(getattr(type(thing)(**given), name, None)) != _plain(now)


def _make_again(thing: Any, values: Mapping[str, Any]) -> None:
    """The object anew in its place, so that all that a constructor makes of its parameters, and checks in them, follows."""
    given = given_to(thing)
    if given is None:
        given = {name: getattr(thing, name) for name in parameters(type(thing)) if hasattr(thing, name)}
    else:
        thing._given = Given(((), {**given, **values}))  # noqa: SLF001 - see `given_to`
    type(thing).__init__(thing, **{**given, **values})


def _refusal(thing: Any, name: str, rules: Rules, kind: str, why: str) -> ConfigurationError:
    cls = type(thing)
    why = f"{why} ({rules.source}, {rules.table_of(kind, cls, name)} {name}); {rules.contact}"
    error = OutOfBounds(f"{cls.__name__}({name}={getattr(thing, name, None)!r}): {why}")
    error.about, error.why = (id(thing), name), why
    return error


def _exceeds(name: str, value: Any, cap: Any) -> str:
    """Why a value is more than its cap; empty when it is not."""
    if value is None:
        # Nothing asked for: for most parameters that is the least there is, but a job without a walltime has no end.
        return f"expected at most {literal(cap)} here, and no end is more" if name == "walltime" else ""
    amount, most = _amount(value), _amount(cap)
    if amount is None:
        return f"expected something of at most {literal(cap)} here"
    return f"expected at most {literal(cap)} here" if most is not None and amount > most else ""


def _amount(value: Any) -> float | None:
    """A number, a time or a size, as a number; None when it is none of these."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    for read in _READERS:
        try:
            return float(read(value))
        except (ValueError, TypeError):
            continue
    return None


def _kubernetes_size(value: Any) -> float:
    """``500Mi``, as Kubernetes writes sizes."""
    if not isinstance(value, str) or not value.endswith("i"):
        raise ValueError(value)
    return parse_bytes(value + "B")


_READERS: Final[tuple[Callable[[Any], float], ...]] = (parse_duration, parse_bytes, _kubernetes_size)


def objects_in(thing: Any) -> Iterator[Any]:
    """The executors, providers and launchers among the parameters of an object."""
    for name in parameters(type(thing)):
        value = getattr(thing, name, None)
        for each in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(each, tuple(PORTS.values())):
                yield each
