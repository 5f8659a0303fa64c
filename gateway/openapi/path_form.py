"""The path templates of OpenAPI in the form that a policy knows: whole segments, literal or ``{name}``, and ``**`` as the last one.

OpenAPI and what people write in its name say more than that: ``{base}...{head}``, ``{id}:cancel``, ``{path*}``, ``/items?kind=x``. Each such template is
brought to the nearest form of a policy, and ``notes`` tell a person what was done. Where only a form that takes far more would do, ``loose`` is True and an
import leaves the operation out: ``report-{id}`` begins with a literal, and in its place ``{id}`` would take every segment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.core.path import CanonicalPath, canonicalise
from gateway.core.route_template import REST, canonical_template

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]+")
_NOT_IN_PATHS: Final = re.compile(r"[^!$&'()+,/:=@A-Za-z0-9._~%-]|%(?![0-9A-Fa-f]{2})")
_EXPRESSION: Final = re.compile(r"([+#./;?&]?)([^*+:=?]*)(.*)", re.DOTALL)
_WITH_SLASHES: Final = re.compile(r"\*+|\+|[:=](?:path|\.[*+]|\*\*|.*/.*|.*\*\*)", re.DOTALL)
_TAIL_NAMES: Final = frozenset({"path", "filepath", "file_path", "file-path", "subpath", "proxy", "any", "rest", "wildcard"})


class _Parameter(NamedTuple):
    name: str
    spans: bool = False  # says of itself that it holds slashes
    limited: str = ""  # what else it says of itself, which a policy can't


_Piece = str | _Parameter


@dataclass(frozen=True, slots=True)
class PathForm:
    """A path of the document in a policy's form. ``template`` is canonical, "" where no request can have such a path; ``notes`` then say why.

    ``sample`` is a path that the document's template takes, with ``fresh`` as the mark of each parameter; ``pattern`` takes just such paths.
    ``wider``: the template takes paths that the document's does not.
    """

    template: str
    notes: tuple[str, ...]
    sample: str = ""
    pattern: str = ""
    wider: bool = False
    loose: bool = False

    def example(self, fresh: str) -> str:
        """A path of the document's template in which every parameter is ``fresh``."""
        return self.sample.replace(_MARK, fresh)


_MARK: Final = "~parameter~"


def path_form(path: str, spanning: frozenset[str] = frozenset()) -> PathForm:
    """The form of a path (with the path of its server before it). ``spanning``: parameters that the document says may hold slashes."""
    pieces, notes = _pieces(path)
    wider = bool(notes)
    loose = False
    parts: list[str] = []
    samples: list[str] = []
    patterns: list[str] = []
    for index, segment in enumerate(pieces):
        last = index == len(pieces) - 1
        samples.append("".join(_MARK if isinstance(piece, _Parameter) else _encoded(piece) for piece in segment))
        patterns.append("".join("[^/]+" if isinstance(piece, _Parameter) else re.escape(_canonical(piece)) for piece in segment))
        parameters = [piece for piece in segment if isinstance(piece, _Parameter)]
        if not parameters:
            parts.append("".join(_encoded(piece) for piece in segment if isinstance(piece, str)))
            continue
        told = _told(segment)
        name = _name("_".join(parameter.name for parameter in parameters))
        if len(segment) > 1:
            parts.append(f"{{{name}}}")
            wider = True
            loose = loose or isinstance(segment[0], str)
            verb = "would have to take" if isinstance(segment[0], str) else "takes"
            notes.append(f"{told} is only part of a segment, which a policy can't say: the rule {verb} any segment there")
        elif parameters[0].spans and last:
            parts.append(REST)
            patterns[-1] = ".*"
            notes.append(f"{told} holds slashes: ** takes all the rest, none and any number of segments")
        else:
            parts.append(f"{{{name}}}")
            if parameters[0].spans or (last and (parameters[0].name in spanning or parameters[0].name.lower() in _TAIL_NAMES)):
                notes.append(
                    f"{{{name}}} takes one segment: if it holds slashes, " + ("write ** in its place" if last else "write out the routes that it stands for")
                )
            elif parameters[0].limited:
                wider = True
                notes.append(f"{told}: what it says of its form is not compared")
    try:
        template = canonical_template("/" + "/".join(parts))
        sample = canonicalise("/" + "/".join(samples))
    except ValueError as why:
        return PathForm("", (str(why),))
    if not isinstance(sample, CanonicalPath):
        return PathForm("", (sample.detail,))
    return PathForm(template, tuple(dict.fromkeys(notes)), sample.path, "/" + "/".join(patterns).rstrip("/") + "/?", wider, loose)


def _pieces(path: str) -> tuple[list[list[_Piece]], list[str]]:
    """The segments of a path, each its literals and parameters in turn, and a note where something after the path was cut off."""
    segments: list[list[_Piece]] = [[]]
    notes: list[str] = []
    at = 1  # after the first slash
    while at < len(path):
        character = path[at]
        end = _closing(path, at) if character == "{" else 0
        if end:
            operator, name, rest = _EXPRESSION.fullmatch(path[at + 1 : end]).groups()  # type: ignore[union-attr]
            if operator in {"?", "&", "#"}:
                notes.append(f"{_shown(path[at : end + 1])} is not part of the path, by which alone routes are matched")
            else:
                segments[-1].append(_Parameter(name or "any", operator == "+" or bool(_WITH_SLASHES.fullmatch(rest)), rest))
            at = end
        elif character == "*":
            deep = path[at : at + 2] == "**"
            segments[-1].append(_Parameter("any", deep, "*"))
            at += deep
        elif character in "?#":
            notes.append(f"{_shown(path[at:])} is not part of the path, by which alone routes are matched: all that differ only there are one")
            break
        elif character == "/":
            segments.append([])
        elif segments[-1] and isinstance(segments[-1][-1], str):
            segments[-1][-1] += character
        else:
            segments[-1].append(character)
        at += 1
    return segments, notes


def _closing(path: str, start: int) -> int:
    """Where the brace that opens at ``start`` is closed, 0 if nowhere."""
    depth = 0
    for at in range(start, len(path)):
        depth += (path[at] == "{") - (path[at] == "}")
        if not depth:
            return at
    return 0


def _name(text: str) -> str:
    """A legal name for a parameter: nothing compares names, people read them."""
    name = _NOT_IN_NAMES.sub("_", text).strip("_")[:100] or "any"
    return name if name[0].isalpha() else f"_{name}"


def _encoded(text: str) -> str:
    """A literal as a request would hold it: what may not stand in a path as it is, as percent codes. Semicolon and backslash stay: the core refuses them."""
    return _NOT_IN_PATHS.sub(lambda match: _codes(match[0]) if match[0] not in {";", "\\"} else match[0], text)


def _codes(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "replace"))


def _canonical(text: str) -> str:
    """A literal piece in the form of canonical paths, or as it is where no request can hold it."""
    found = canonicalise("/" + _encoded(text))
    return found.path[1:] if isinstance(found, CanonicalPath) else text


def _told(segment: list[_Piece]) -> str:
    """A segment for a note, in the document's words."""
    return _shown("".join(f"{{{piece.name}{piece.limited}}}" if isinstance(piece, _Parameter) else piece for piece in segment))


def _shown(text: str) -> str:
    plain = "".join(character if character.isprintable() else " " for character in text)
    return plain if len(plain) <= 60 else plain[:57] + "..."
