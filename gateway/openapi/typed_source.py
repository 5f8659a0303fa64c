"""The text of an OpenAPI document as typed data, to be written as JSON again.

YAML is read by the types of JSON alone, as OpenAPI asks: no dates, and ``no`` is a word. This runs in a process of its own (``document_process``), which
a hostile document may bring down without harm; the size is bounded here, the depth and what aliases multiply where the data is copied (``take_apart``).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.openapi.pieces import SpecUnusable

MAX_BYTES: Final = 64 * 1024 * 1024
_TYPES: Final = (
    ("tag:yaml.org,2002:bool", r"^(?:true|false)$", "tf"),
    ("tag:yaml.org,2002:int", r"^-?(?:0|[1-9][0-9]*)$", "-0123456789"),
    ("tag:yaml.org,2002:float", r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$", "-0123456789"),
    ("tag:yaml.org,2002:null", r"^(?:~|null|)$", ("~", "n", "")),
    ("tag:yaml.org,2002:merge", r"^<<$", "<"),
)


def read_document(path: Path) -> object:
    """The data of a file. SpecUnusable if it can't be read, is over MAX_BYTES, or is neither JSON nor YAML."""
    try:
        if path.exists() and not path.is_file():
            raise SpecUnusable("this is no file")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecUnusable(f"this file can't be read ({os.strerror(error.errno or 0).lower()})") from None
    return parse_document(raw)


def parse_document(raw: bytes) -> object:
    """The data of a text. SpecUnusable as read_document."""
    if len(raw) > MAX_BYTES:
        raise SpecUnusable(f"the document is over {MAX_BYTES // 1024 // 1024} MiB: leave out parts of it")
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    why = "it is empty"
    if raw.lstrip()[:1] in {b"{", b"["}:
        try:
            return msgspec.json.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            why = f"this is not JSON: {error}"
        except RecursionError:
            raise SpecUnusable("it is nested too deep") from None
        if b"\n" not in raw.strip():
            raise SpecUnusable(why)
    try:
        return _from_yaml(raw)
    except SpecUnusable:
        if raw.lstrip()[:1] == b"{":
            raise SpecUnusable(why) from None
        raise


def _from_yaml(raw: bytes) -> object:
    import yaml  # noqa: PLC0415 - a document in JSON needs none

    class Loader(yaml.CSafeLoader):
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way

    import re  # noqa: PLC0415 - as above

    for tag, pattern, first in _TYPES:
        Loader.add_implicit_resolver(tag, re.compile(pattern), list(first))
    try:
        return yaml.load(raw, Loader)  # noqa: S506 - a safe loader with fewer types
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise SpecUnusable(f"{where}this is not YAML: {' '.join(part for part in (error.context, error.problem) if part)}") from None
    except yaml.YAMLError as error:
        raise SpecUnusable(f"this is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise SpecUnusable("it is nested too deep") from None
    except (ValueError, TypeError) as error:
        raise SpecUnusable(f"this is not YAML that can be read: {' '.join(str(error).split())[:200]}") from None
