"""Environment variables over the file: ``SCOPEGATE_UPSTREAMS__TEMPO__URL`` is ``upstreams.tempo.url``.

Names are in capitals, sections parted by two underscores. Sections, lists and maps are JSON and replace the whole value; a name that means no key
is a fault, so that a slip never leaves a protection off.
"""

from __future__ import annotations

import difflib
import json
import re
import typing
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pydantic.fields import FieldInfo

from gateway.policy_file.document import Fault, Path_
from gateway.settings.file_model import GatewayFile, Section
from gateway.settings.values import UpstreamUrl

PREFIX: Final = "SCOPEGATE_"
CONFIG_VARIABLE: Final = "SCOPEGATE_CONFIG"  # names the file, so it is not in it

# Kubernetes sets these for a service named scopegate or scopegate-…; no setting has such a name.
_SERVICE_LINK: Final = re.compile(
    r"SCOPEGATE(?:_[A-Z0-9]+)*?_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)\Z"
)
_SERVICE_ADDRESS: Final = re.compile(r"(?:tcp|udp|sctp)://\S+\Z")


class Overlay(NamedTuple):
    """The file's data with the variables laid over it. ``sources`` tells which variable set a path; ``unknown`` holds a fault for each that names no key."""

    data: dict[str, Any]
    sources: dict[Path_, str]
    faults: list[Fault]
    unknown: dict[str, Fault]


def overlay(data: Mapping[str, Any], environ: Mapping[str, str]) -> Overlay:
    """Lay the variables over a copy of the data; a shorter name first, so that a part may be set apart from its whole."""
    result = Overlay(_copy(data), {}, [], {})
    ours = [name for name in environ if name.startswith(PREFIX) and name != CONFIG_VARIABLE and not _is_service_link(name, environ[name])]
    for name in sorted(ours, key=lambda name: (name.count("__"), name)):
        _lay(result, name, environ[name])
    return result


def _lay(result: Overlay, name: str, written: str) -> None:
    path = tuple(part.lower() for part in name.removeprefix(PREFIX).split("__"))
    path = _as_in_file(path, result.data)
    kind = _kind(path)
    if kind is None:
        result.unknown[name] = Fault(name, 0, 0, f"this names no setting{_hint(name)}")
        return
    value: object = written
    if kind == "json" or (kind == "either" and written.lstrip()[:1] in {"[", "{"}):
        try:
            value = _from_json(written)
        except ValueError as error:
            result.faults.append(Fault(name, 0, 0, f"{error}: write a list or map as JSON"))
            return
    at = result.data
    for part in path[:-1]:
        if not isinstance(at.get(part), dict):
            at[part] = {}
        at = at[part]
    at[path[-1]] = value
    result.sources[path] = name


def _as_in_file(path: tuple[str, ...], data: Mapping[str, Any]) -> tuple[str, ...]:
    """A variable's name can't hold ``-``: an upstream ``my-api`` of the file is met by MY_API."""
    upstreams = data.get("upstreams")
    if len(path) > 1 and path[0] == "upstreams" and isinstance(upstreams, dict) and path[1] not in upstreams:
        for name in upstreams:
            if name.replace("-", "_") == path[1]:
                return (path[0], name, *path[2:])
    return path


def _kind(path: tuple[str, ...]) -> str | None:
    """How a variable for this path is written: "text", "json" or "either"; None if there is no such key."""
    at: Any = GatewayFile
    field: FieldInfo | None = None
    for part in path:
        if isinstance(at, type) and issubclass(at, Section):
            field = at.model_fields.get(part)
            if field is None:
                return None
            if field.annotation is type(None):  # a feature that is not built: whatever is written below it is refused as one
                return "either"
            at = _plain(field.annotation)
        elif typing.get_origin(at) is dict and part:
            at = typing.get_args(at)[1]
        else:
            return None
    if at is UpstreamUrl:  # one, or a list
        return "either"
    return "json" if typing.get_origin(at) in {dict, tuple} or (isinstance(at, type) and issubclass(at, Section)) else "text"


def _plain(annotation: object) -> object:
    """An annotation without the None of an optional section."""
    sections = [kind for kind in typing.get_args(annotation) if isinstance(kind, type) and issubclass(kind, Section)]
    return sections[0] if sections and typing.get_origin(annotation) not in {dict, tuple} else annotation  # a list of sections is one value


def _hint(name: str) -> str:
    known = [PREFIX + "__".join(path).upper() for path in paths(GatewayFile)]
    near = difflib.get_close_matches(name, known, 1, 0.7)
    return f": did you mean {near[0]}?" if near else f"; a setting's variable is {PREFIX} and its key in capitals, sections parted by two underscores"


def paths(section: type[Section], before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every key of a section and of those below it; the name of an upstream is written NAME."""
    found: list[tuple[str, ...]] = []
    for key, field in section.model_fields.items():
        path = (*before, key)
        inner = _plain(field.annotation)
        if typing.get_origin(inner) is dict:
            inner = typing.get_args(inner)[1]
            path = (*path, "NAME")
        if isinstance(inner, type) and issubclass(inner, Section):
            found += paths(inner, path)
        else:
            found.append(path)
    return found


def _is_service_link(name: str, written: str) -> bool:
    return bool(_SERVICE_LINK.match(name)) or (name.endswith("_PORT") and bool(_SERVICE_ADDRESS.match(written)))


def _from_json(written: str) -> object:
    """Lists and maps; what stands in them is text, as in the file. ValueError if it is none."""
    try:
        value = json.loads(written, object_pairs_hook=_unique, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError:
        raise ValueError("this is not JSON") from None
    except RecursionError:
        raise ValueError("this is nested too deep") from None
    if not isinstance(value, dict | list):
        raise ValueError("this is neither a list nor a map")  # noqa: TRY004  told as one fault with the others
    return _as_text(value)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError("a key is given twice")
    return dict(pairs)


def _as_text(value: object) -> object:
    if isinstance(value, dict):
        return {key: _as_text(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_text(inner) for inner in value]
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def _copy(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in data.items()}
