"""The files that the law looks at: all of the checkout but what .gitignore leaves out. Git itself is not needed."""

from __future__ import annotations

import ast
import os
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
_IGNORED = [".git", *(line.rstrip("/") for line in (ROOT / ".gitignore").read_text("utf-8").split())]


def _is_ignored(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in _IGNORED)


@cache
def files(*suffixes: str) -> list[str]:
    """All files of these endings, or all there are, as paths from the root."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not _is_ignored(name)]
        found += [Path(folder, name).relative_to(ROOT).as_posix() for name in names if not _is_ignored(name)]
    return sorted(path for path in found if not suffixes or path.endswith(suffixes))


def text(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


@cache
def sources() -> list[str]:
    """The Python files of the product."""
    return [path for path in files(".py") if path.startswith("gateway/")]


@cache
def syntax(path: str) -> ast.Module:
    return ast.parse(text(path), path)
