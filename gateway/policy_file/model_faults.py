"""What pydantic finds wrong, told in the words of the file: place, what is wrong, what would be right."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.policy_file.document import KEY, Document, Fault, Path_, shown

_KINDS: Final = {dict: "a mapping", list: "a list", type(None): "nothing", str: "text", bool: "true or false", int: "a number", float: "a number"}


def model_faults(error: ValidationError, document: Document, file: str, model: type[BaseModel]) -> list[Fault]:
    """One Fault for each error, at its place in the document: that of the value, of the key where the key is wrong, else of the nearest thing around it."""
    return [place(document, file, *located(details, model)) for details in error.errors(include_url=False)]


def located(details: ErrorDetails, model: type[BaseModel]) -> tuple[Path_, str]:
    """The path and the message of one error of pydantic."""
    loc = details["loc"]
    kind = details["type"]
    if kind == "missing":
        return loc[:-1], f"{loc[-1]!r} is missing{_inside(loc[:-1])}"
    if kind == "extra_forbidden":
        return (*loc, KEY), unknown_key(str(loc[-1]), known_keys(model, loc[:-1]), loc[:-1])
    make = _MESSAGES.get(kind)
    what = make(details) if make else details["msg"][:1].lower() + details["msg"][1:]
    key = next((part for part in reversed(loc) if isinstance(part, str) and part != KEY), None)
    return loc, what if key is None or loc[-1] == KEY else f"{key}: {what}"


def place(document: Document, file: str, path: Iterable[str | int], message: str) -> Fault:
    """A Fault at a path of the document, or at the nearest thing around it that has a place."""
    parts = tuple(path)
    while parts and parts not in document.places:
        parts = parts[:-1]
    return Fault(file, *document.places.get(parts, (1, 1)), message)


def unknown_key(key: str, known: Iterable[str], inside: Path_) -> str:
    """The message for a key that means nothing, with the nearest one that does."""
    names = list(known)
    near = difflib.get_close_matches(key, names, 1)
    hint = f": did you mean {near[0]!r}?" if near else f": known here are {', '.join(names)}" if names else ""
    return f"unknown key {shown(key)}{_inside(inside)}{hint}"


def known_keys(model: type[BaseModel], path: Iterable[str | int]) -> list[str]:
    """The keys that the model knows at a path."""
    at: object = model
    for part in path:
        at = _step(_plain(at), part)
    at = _plain(at)
    if isinstance(at, type) and issubclass(at, BaseModel):
        return [field.alias or name for name, field in at.model_fields.items()]
    return []


def _step(at: object, part: str | int) -> object:
    if isinstance(at, type) and issubclass(at, BaseModel):
        for name, field in at.model_fields.items():
            if part in {name, field.alias}:
                return field.annotation
        return None
    arguments = typing.get_args(at)
    return arguments[-1] if arguments and typing.get_origin(at) in {list, dict, tuple, Mapping} else None


def _plain(at: object) -> object:
    """An annotation without Annotated and without the None of an optional one."""
    while True:
        origin = typing.get_origin(at)
        if origin is typing.Annotated:
            at = typing.get_args(at)[0]
        elif origin in {typing.Union, types.UnionType}:
            at = next((argument for argument in typing.get_args(at) if argument is not type(None)), None)
        else:
            return at


def _inside(path: Path_) -> str:
    names = [str(part) for part in path if isinstance(part, str)]
    return f" in {'.'.join(names)}" if names else ""


def _wants(what: str) -> Callable[[ErrorDetails], str]:
    return lambda details: f"{what} is needed here, not {_KINDS.get(type(details['input']), 'this')}"


def _limit(words: str, name: str) -> Callable[[ErrorDetails], str]:
    return lambda details: f"{shown(details['input'])} is out of range: {words} {details['ctx'][name]}"


def _value(details: ErrorDetails) -> str:
    return str(details["ctx"]["error"])


_MESSAGES: Final[dict[str, Callable[[ErrorDetails], str]]] = {
    "value_error": _value,
    "string_type": _wants("text"),
    "dict_type": _wants("a mapping"),
    "model_type": _wants("a mapping"),
    "model_attributes_type": _wants("a mapping"),
    "list_type": _wants("a list"),
    "tuple_type": _wants("a list"),
    "literal_error": lambda details: f"{shown(details['input'])} is not one of {details['ctx']['expected']}",
    "int_parsing": lambda details: f"{shown(details['input'])} is no whole number",
    "int_type": _wants("a whole number"),
    "greater_than_equal": _limit("at least", "ge"),
    "greater_than": _limit("more than", "gt"),
    "less_than_equal": _limit("at most", "le"),
    "less_than": _limit("less than", "lt"),
    "string_too_short": lambda _: "this may not be empty",
    "string_too_long": lambda details: f"this is too long: at most {details['ctx']['max_length']} characters",
    "too_short": lambda details: f"at least {details['ctx']['min_length']} is needed",
    "too_long": lambda details: f"at most {details['ctx']['max_length']} are allowed",
}
