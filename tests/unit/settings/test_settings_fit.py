"""The policy names upstreams; the configuration must have them."""

from __future__ import annotations

from pathlib import Path

from gateway.policy_file.load import parse_policy
from gateway.settings.fit import check_policy_fits
from gateway.settings.load import load_settings

POLICY = parse_policy(
    b"""\
version: 1
scopes: {a: {title: A}}
routes:
  - {path: /a, scope: a}
  - {path: /b, scope: a, upstream: second}
  - {path: /c, public: true}
unmapped: ["GET /d"]
""",
    "policy.yaml",
)


def _misfits(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    return check_policy_fits(load_settings(file, {}), POLICY)


def test_a_route_to_an_upstream_that_is_not_there_is_told_with_its_line(tmp_path: Path) -> None:
    assert _misfits(tmp_path, "upstreams: {first: {url: http://a.example}}") == ["route /b (line 5): upstream 'second' is not configured: known are first"]


def test_several_upstreams_without_a_default_leave_routes_nowhere_to_go(tmp_path: Path) -> None:
    two = "upstreams: {first: {url: http://a.example}, second: {url: http://b.example}}\n"
    assert _misfits(tmp_path, two) == [
        "route /a (line 4): it names no upstream, and there are several (first, second): set default_upstream",
        "route /c (line 6): it names no upstream, and there are several (first, second): set default_upstream",
    ]
    assert _misfits(tmp_path, f"default_upstream: first\n{two}") == []


def test_with_one_upstream_routes_need_name_none(tmp_path: Path) -> None:
    assert _misfits(tmp_path, "upstreams: {second: {url: http://b.example}}") == []


def test_a_route_that_the_gateway_would_answer_itself_is_told(tmp_path: Path) -> None:
    one = "upstreams: {second: {url: http://b.example}}\n"
    assert _misfits(tmp_path, f"own_prefix: /b/\n{one}") == ["route /b (line 5): what is under /b/ the gateway answers itself: set another own_prefix, or off"]
    assert _misfits(tmp_path, f"own_prefix: /d/\n{one}") == [], "what is left out on purpose is so all the same"
    assert _misfits(tmp_path, f"own_prefix: off\n{one}") == []
