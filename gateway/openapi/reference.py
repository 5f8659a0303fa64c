"""References inside a document (``$ref``): JSON pointers (RFC 6901) in the fragment of an address. Remote ones are told, never fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import unquote

_TOO_MANY: Final = 100  # faults that are told one by one
_LONGEST_CHAIN: Final = 50


class References:
    """Follows references in one document, and keeps the account of those that lead nowhere."""

    def __init__(self, root: Mapping[str, object]) -> None:
        self._root = root
        self._faults: dict[str, None] = {}

    @property
    def faults(self) -> list[str]:
        """What is wrong, each with the pointer of its place; of very many the first ones and how many more."""
        told = list(self._faults)
        return told if len(told) <= _TOO_MANY else [*told[:_TOO_MANY], f"and {len(told) - _TOO_MANY} more of the kind"]

    def fault(self, at: str, message: str) -> None:
        """Note that something is wrong at a pointer."""
        self._faults[f"{at}: {message}"] = None

    def follow(self, node: object, at: str) -> tuple[object, str]:
        """What a node stands for, and its pointer: itself, or the end of its references. (None, "") where they lead nowhere, which is noted."""
        chain = [at]
        while isinstance(node, dict) and "$ref" in node:
            target = node["$ref"]
            place = f"{chain[-1]}/$ref"
            if not isinstance(target, str) or not target:
                self.fault(place, "a reference must be text")
                return None, ""
            if not target.startswith("#"):
                self.fault(place, f"{_short(target)} is in another file or on another host, and is not fetched: bundle the document into one file first")
                return None, ""
            if target in chain:
                self.fault(
                    place, f"the references go round in a circle ({' -> '.join(map(_short, [*chain[chain.index(target) :], target]))}): write one of them out"
                )
                return None, ""
            if len(chain) > _LONGEST_CHAIN:
                self.fault(place, f"more than {_LONGEST_CHAIN} references in a row: write the value out")
                return None, ""
            found = self._at(target)
            if found is None:
                self.fault(place, f"{_short(target)} leads nowhere: there is no such place in the document")
                return None, ""
            node = found
            chain.append(target)
        return node, chain[-1]

    def _at(self, target: str) -> object:
        node: object = self._root
        for part in unquote(target)[1:].split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict):
                node = node.get(key)
            elif isinstance(node, list) and key.isascii() and key.isdigit() and len(key) < 9:
                node = node[int(key)] if int(key) < len(node) else None
            else:
                return None
        return node


def pointer(*parts: object) -> str:
    """The pointer of a place, as ``#/paths/~1orders/get``."""
    return "/".join(("#", *_escaped(parts)))


def _escaped(parts: Iterable[object]) -> Iterable[str]:
    return (str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."
