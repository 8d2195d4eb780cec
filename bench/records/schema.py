"""A JSON value against a type, for what comes from files that anybody may have written.

A type is written with the words of `typing`: int (64 bits), float (finite), str, bool, None, Any, list[X], dict[str, X],
X | Y, Literal, TypedDict with NotRequired (keys that it does not name are left alone) and Annotated[X, Rule] for what a
type cannot say.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Check = Callable[[Any, str], None]
"""Raises ValueError if the value, which stands at the key of that name, does not fit."""

LARGEST_INT, LARGEST_FLOAT = 2**63 - 1, 1e100
"""Beyond the first no table can hold a number, beyond the second no axis can show it."""


@dataclass(frozen=True)
class Rule:
    """What a value must fulfil beyond its type."""

    says: str
    holds: Callable[[Any], Any]


def _is_text(value: Any) -> bool:
    """Half of a surrogate pair is legal in the escapes of JSON, and is no character: nothing can hash or draw it."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value))


PLAIN: Mapping[Any, Rule] = {
    int: Rule(
        "a whole number", lambda v: isinstance(v, int) and not isinstance(v, bool) and -LARGEST_INT <= v <= LARGEST_INT
    ),
    float: Rule(
        "a number", lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) <= LARGEST_FLOAT
    ),
    str: Rule("text", _is_text),
    bool: Rule("true or false", lambda v: isinstance(v, bool)),
    types.NoneType: Rule("null", lambda v: v is None),
    Any: Rule("anything", lambda v: True),
}


@functools.cache
def checker(kind: Any) -> Check:
    """The check for values of a type."""
    if kind in PLAIN:
        return _checked_by(PLAIN[kind])
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if typing.is_typeddict(kind):
        return _object_check(kind)
    if origin is typing.NotRequired:
        return checker(args[0])
    if origin is typing.Annotated:
        return _all_of(checker(args[0]), *map(_checked_by, args[1:]))
    if origin is typing.Literal:
        return _checked_by(Rule(f"one of {', '.join(args)}", lambda v: isinstance(v, str) and v in args))
    if origin is list:
        return _list_check(checker(args[0]))
    if origin is dict:
        return _mapping_check(checker(args[1]))
    if origin in (types.UnionType, typing.Union):
        return _any_of([checker(arg) for arg in args])
    raise TypeError(f"{kind!r} is no type that JSON can be checked against")


def _refuse(value: Any, where: str, expected: str) -> ValueError:
    shown = ascii(value)
    return ValueError(f"key {where!r} is {shown[:60]}{'...' if len(shown) > 60 else ''}, expected {expected}")


def _checked_by(rule: Rule) -> Check:
    def check(value: Any, where: str) -> None:
        if not rule.holds(value):
            raise _refuse(value, where, rule.says)

    return check


def _all_of(*checks: Check) -> Check:
    def check(value: Any, where: str) -> None:
        for one in checks:
            one(value, where)

    return check


def _any_of(checks: list[Check]) -> Check:
    """What fits none is refused in the words of the first."""

    def check(value: Any, where: str) -> None:
        errors = []
        for one in checks:
            try:
                return one(value, where)
            except ValueError as error:
                errors.append(error)
        raise errors[0]

    return check


def _list_check(item: Check) -> Check:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, list):
            raise _refuse(value, where, "a list")
        for entry in value:
            item(entry, where)

    return check


def _mapping_check(item: Check) -> Check:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise _refuse(value, where, "an object")
        for name, entry in value.items():
            if not _is_text(name):
                raise _refuse(name, where, "names that are text")
            item(entry, f"{where}.{name}")

    return check


def _object_check(kind: Any) -> Check:
    hints = typing.get_type_hints(kind, include_extras=True)
    keys = {name: checker(hint) for name, hint in hints.items()}
    # Where annotations are text, __required_keys__ knows nothing of NotRequired.
    required = {n for n in kind.__required_keys__ if typing.get_origin(hints[n]) is not typing.NotRequired}

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise _refuse(value, where, "an object")
        for name, item in keys.items():
            if name in value:
                item(value[name], f"{where}.{name}")
            elif name in required:
                raise ValueError(f"key {f'{where}.{name}'!r} is missing")

    return check
