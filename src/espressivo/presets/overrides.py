"""`model.layers=4`: settings given as text, parsed by the type of the field they name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from espressivo.errors import CodecError, ConfigError

C = TypeVar("C")


def override(config: C, settings: Iterable[str]) -> C:
    """Give a copy of a preset with settings like "model.layers=4" put in.

    A path of field names leads through the frozen dataclasses within it; a later setting of a
    field wins. ConfigError says which keys or values would have been right.
    """
    pending: dict[str, Any] = {}
    known = {key: hint for key, hint in _leaves(config) if "." in key}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"{setting!r} is no setting; write one like model.layers=4")
        if key not in known:
            raise ConfigError(f"no setting {key!r}; {_nearest(key, list(known))}")
        pending[key] = _parsed(key, text, known[key])
    try:
        changed: C = _put(config, pending)
    except CodecError as error:
        raise ConfigError(str(error)) from error
    return changed


def _leaves(config: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Give the path and type of every setting."""
    hints = get_type_hints(type(config))
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from _leaves(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, hints[field.name]


def _put(config: Any, pending: dict[str, Any]) -> Any:
    """Replace all settings of one dataclass at once, so that it checks only the outcome."""
    changes: dict[str, Any] = {}
    within: dict[str, dict[str, Any]] = {}
    for key, value in pending.items():
        name, dot, rest = key.partition(".")
        if dot:
            within.setdefault(name, {})[rest] = value
        else:
            changes[name] = value
    changes |= {name: _put(getattr(config, name), inner) for name, inner in within.items()}
    return replace(config, **changes) if changes else config


def _nearest(key: str, allowed: list[str]) -> str:
    close = get_close_matches(key, allowed, n=3, cutoff=0.6)
    close = close or [one for one in allowed if one.endswith("." + key.split(".")[-1])]
    if close:
        return f"did you mean {' or '.join(close)}?"
    first = key.split(".")[0]
    same = [one for one in allowed if one.startswith(first + ".")]
    groups = sorted({one.split(".")[0] for one in allowed})
    return f"known are {', '.join(same or [f'{group}. ...' for group in groups])}"


def _parsed(key: str, text: str, hint: Any) -> Any:
    """Read a value of the type of its field."""
    try:
        return _value(text.strip(), hint)
    except ValueError as error:
        raise ConfigError(f"{key}={text} must be {_wanted(hint)}") from error


def _value(text: str, hint: Any) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if NoneType in inner and text.lower() == "none":
            return None
        return _value(text, next(one for one in inner if one is not NoneType))
    if origin is Literal:
        if text not in inner:
            raise ValueError(text)
        return text
    if origin is tuple:
        return _tuple(text, inner)
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    if hint in (int, float):
        return hint(text)
    if hint is str:
        return text
    raise ValueError(text)


def _tuple(text: str, inner: tuple[Any, ...]) -> tuple[Any, ...]:
    """Read numbers with commas between them, in brackets or not."""
    parts = [part.strip() for part in text.strip("()[] ").split(",") if part.strip()]
    if inner[-1] is Ellipsis:
        return tuple(_value(part, inner[0]) for part in parts)
    if len(parts) != len(inner):
        raise ValueError(text)
    return tuple(_value(part, one) for part, one in zip(parts, inner, strict=True))


def _wanted(hint: Any) -> str:
    """Say what a value must be."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join("none" if one is NoneType else _wanted(one) for one in inner)
    if origin is Literal:
        return "one of " + ", ".join(map(str, inner))
    if origin is tuple and inner[-1] is Ellipsis:
        return f"values with commas between them, each {_wanted(inner[0])}"
    if origin is tuple:
        return f"{len(inner)} values with commas between them, each {_wanted(inner[0])}"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return names.get(hint, str(hint))
