"""The law of the tree: no path of a machine, no package index and no secret in any file; vectors of unique names; links that lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.core.token_text import parse
from tests.shape.tree import ROOT, files, text

MACHINE = re.compile(r"(?<![\w.*-])/(?:root|home|Users|work|tmp/[a-z])(?:/|\b)(?![\w-])")
INDEX = re.compile(r"https?://[^\s\"'<>]*(?:pypi|/simple\b)|(?:index-url|extra-index)[= ]+\S*://", re.IGNORECASE)
MADE_OUTSIDE = (
    "requirements/run.txt",
    "requirements/oidc.txt",
    "requirements/dev.txt",
    "requirements/uv.txt",
    "requirements/bench.txt",
    "requirements/build.txt",
)


def readable() -> Iterator[tuple[str, str]]:
    """Every file that holds text."""
    for path in files():
        data = (ROOT / path).read_bytes()
        if b"\0" not in data:
            yield path, data.decode("utf-8")


def places(pattern: re.Pattern[str]) -> list[str]:
    return [f"{path}:{number}" for path, whole in readable() for number, line in enumerate(whole.splitlines(), 1) if pattern.search(line)]


@pytest.mark.parametrize("line", ["cd ~root/project", "~home/me/.venv", "see ~work/main"])
def test_a_path_of_a_machine_is_seen(line: str) -> None:
    assert MACHINE.search(line.replace("~", "/"))


@pytest.mark.parametrize("line", ["--index-url ~mirror.example/", "~pypi.example/simple", "~mirror.example/simple/aiohttp/"])
def test_an_address_of_a_package_index_is_seen(line: str) -> None:
    assert INDEX.search(line.replace("~", "https://"))


def test_no_file_names_a_path_of_a_machine() -> None:
    # The vectors' paths are those of requests.
    assert [place for place in places(MACHINE) if not place.startswith("tests/vectors/")] == []


def test_no_file_names_a_package_index() -> None:
    assert places(INDEX) == []


def test_every_pinned_package_has_its_hashes() -> None:
    for path in MADE_OUTSIDE:
        if (ROOT / path).exists():
            pins = re.findall(r"^([a-z0-9_.\[\]-]+==.*?)(?=^[a-z]|\Z)", text(path), re.MULTILINE | re.DOTALL | re.IGNORECASE)
            assert pins
            assert [pin.split()[0] for pin in pins if "--hash=sha256:" not in pin] == [], path


def test_no_file_outside_the_tests_holds_a_text_of_token_form() -> None:
    found = [
        f"{path}: {match[0][:16]}…"
        for path, whole in readable()
        if not path.startswith("tests/")
        for match in re.finditer(r"\b[a-z][a-z0-9]{1,15}_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}\b", whole)
        if parse(match[0], match[0].partition("_")[0]) is not None
    ]
    assert found == []


def test_files_are_utf8_end_with_one_line_break_and_hold_no_blank_at_a_lines_end() -> None:
    plain = [path for path in files(".py", ".lua", ".md", ".yaml", ".toml", ".in", ".sh") if text(path)]
    assert [path for path in plain if not text(path).endswith("\n") or text(path).endswith("\n\n") or "\r" in text(path)] == []
    assert [path for path in plain if not path.endswith(".md") and re.search(r"[ \t]$", text(path), re.MULTILINE)] == []


@pytest.mark.parametrize("path", [path for path in files(".yaml") if path.startswith("tests/vectors/")])
def test_no_two_vectors_of_a_table_have_one_name(path: str) -> None:
    loaded = yaml.safe_load(text(path))
    tables: dict[str, Any] = loaded if isinstance(loaded, dict) else {"cases": loaded}
    for part, cases in tables.items():
        if isinstance(cases, list):
            names = [next(str(case[key]) for key in ("name", "target", "why") if key in case) for case in cases]
            assert sorted(name for name in set(names) if names.count(name) > 1) == [], part
            assert names, part


@pytest.mark.parametrize("path", files(".md"))
def test_every_link_of_a_page_leads_to_a_file_or_a_heading_that_is_there(path: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"", text(path)):
        address, _, heading = (target[0] or target[1]).partition("#")
        if address.startswith(("http:", "https:", "mailto:")):
            continue
        page = (ROOT / path).parent / address if address else ROOT / path
        assert page.exists(), f"{address} is not there"
        if heading:
            anchors = {re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in page.read_text("utf-8").splitlines() if line[:1] == "#"}
            assert heading in anchors, f"{Path(address).name}#{heading} is not there"


def test_the_index_of_the_docs_names_every_page() -> None:
    named = set(re.findall(r"\]\(([a-z]+\.md)\)", text("docs/README.md")))
    assert named == {path.removeprefix("docs/") for path in files(".md") if re.fullmatch(r"docs/[a-z]+\.md", path)}
