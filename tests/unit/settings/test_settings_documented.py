"""Every setting is in config/gateway.yaml and in docs/configuration.md, with its true default; so is every metric."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from gateway.observe.exposition import Exposition
from gateway.observe.metrics import Counters
from gateway.policy_file.document import DocumentFault
from gateway.policy_file.load import parse_policy
from gateway.settings.environment import paths
from gateway.settings.file_model import GatewayFile
from gateway.settings.load import load_settings

ROOT = Path(__file__).parents[3]
SAMPLE = (ROOT / "config" / "gateway.yaml").read_text()
DOCS = (ROOT / "docs" / "configuration.md").read_text()
KEYS = [".".join(path) for path in paths(GatewayFile)]
ROWS = {
    match[1]: (match[2].strip(), match[3].strip()) for match in re.finditer(r"^\| `((?!scopegate_)[a-zA-Z_.]+)` \| ([^|]*) \| (.*) \|$", DOCS, re.MULTILINE)
}
NOT_BUILT = sorted(key for key, (_, meaning) in ROWS.items() if meaning.startswith("✗"))
UPSTREAM = {"api": {"url": "http://127.0.0.1:8090"}}


def _has(data: object, path: list[str]) -> bool:
    for part in path:
        key = next(iter(data)) if part == "NAME" and isinstance(data, dict) and data else part
        if not isinstance(data, dict) or key not in data:
            return False
        data = data[key]
    return True


def _nested(path: list[str], value: object) -> dict[str, object]:
    """The smallest configuration that sets this key."""
    whole: dict[str, object] = {"upstreams": {name: dict(section) for name, section in UPSTREAM.items()}}
    at = whole
    for part in path[:-1]:
        at = at.setdefault("api" if part == "NAME" else part, {})  # type: ignore[assignment]
    at[path[-1]] = value
    return whole


def _write(folder: Path, data: object) -> Path:
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(data))
    return file


def test_the_sample_file_runs_and_every_value_in_it_is_the_default(tmp_path: Path) -> None:
    assert load_settings(ROOT / "config" / "gateway.yaml", {}) == load_settings(_write(tmp_path, {"upstreams": UPSTREAM}), {})


def test_every_setting_stands_in_the_sample_file_and_is_explained_there() -> None:
    # A key behind a # without a blank is a setting that is best left out.
    shown = yaml.safe_load(re.sub(r"^( *)#(?=[a-z])", r"\1", SAMPLE, flags=re.MULTILINE))
    missing = [key for key in KEYS if key not in NOT_BUILT and not _has(shown, key.split("."))]
    assert missing == ["upstreams.NAME.credentials.file"], "a credential has one source, so only env is shown"
    lines = SAMPLE.splitlines()
    for number, line in enumerate(lines):
        key = re.match(r" *#?([a-z_]+):", line)
        if key and key[1] not in {"api", "timeouts", "upstreams"}:
            before = lines[number - 1]
            assert before.lstrip().startswith("# "), f"{key[1]} (line {number + 1}) is not explained"


def test_the_sample_file_holds_no_key_that_is_not_known() -> None:
    shown = yaml.safe_load(re.sub(r"^( *)#(?=[a-z])", r"\1", SAMPLE, flags=re.MULTILINE))

    def walk(data: object, path: tuple[str, ...]) -> list[str]:
        if not isinstance(data, dict) or ".".join(path) in KEYS:
            return [".".join(path)]
        return [key for name, value in data.items() for key in walk(value, (*path, "NAME" if path == ("upstreams",) else name))]

    assert sorted(set(walk(shown, ())) - set(KEYS)) == []


def test_the_docs_list_exactly_the_settings_there_are() -> None:
    assert sorted(ROWS) == sorted(KEYS)


@pytest.mark.parametrize("key", [key for key in KEYS if ROWS.get(key, ("–",))[0] != "–"])
def test_the_default_in_the_docs_is_the_true_one(key: str, tmp_path: Path) -> None:
    written = yaml.safe_load(re.sub(r"`([^`]*)`", r"\1", ROWS[key][0])) if ROWS[key][0].startswith("`[") else ROWS[key][0].strip("`")
    path = key.split(".")
    if "credentials" in path:
        base = _nested(["upstreams", "NAME", "credentials", "env"], "STRONG")
        base["upstreams"]["api"]["credentials"]["header"] = written  # type: ignore[index]
        plain = _nested(["upstreams", "NAME", "credentials", "env"], "STRONG")
    elif "oidc" in path:
        needed = {"admin": {"public_url": "https://tokens.example", "oidc": {"issuer": "https://login.example", "client_id": "scopegate"}}}
        plain = {"upstreams": UPSTREAM, **needed}
        base = {
            "upstreams": UPSTREAM,
            "admin": {**needed["admin"], "oidc": {**needed["admin"]["oidc"], path[-1]: ["openid"] if path[-1] == "scopes" else written}},
        }  # type: ignore[dict-item]
    else:
        base, plain = _nested(path, written), {"upstreams": UPSTREAM}
    environ = {"STRONG": "Bearer x"}
    assert load_settings(_write(tmp_path, base), environ) == load_settings(_write(tmp_path, plain), environ)


@pytest.mark.parametrize("key", NOT_BUILT)
def test_what_the_docs_call_not_built_is_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(DocumentFault, match="not in this version"):
        load_settings(_write(tmp_path, _nested(key.split("."), {"anything": "at all"})), {})


def test_some_settings_are_not_built() -> None:
    assert NOT_BUILT == ["cors", "decide", "upstreams.NAME.tls"]


def test_the_docs_list_exactly_the_metrics_there_are() -> None:
    policy = parse_policy(b"version: 1\nscopes: {a: {title: A}}\nroutes:\n  - {path: /a, scope: a}\n", "policy.yaml")
    text = Exposition(Counters(), lambda: policy).render("")[0].decode()
    there = {line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE scopegate_")}
    assert set(re.findall(r"^\| `(scopegate_[a-z_]+)` \|", DOCS, re.MULTILINE)) == there
