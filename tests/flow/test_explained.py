"""Three tell why: ``policy explain``, ``POST /api/v1/explain`` and the refusal itself. They say the same, of the same request, in the same words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.reason import REASONS
from tests.harness.gateway import POLICY, GatewayProcess, Made
from tests.harness.upstream import ScriptedUpstream
from tests.harness.waiting import eventually
from tests.harness.wire import request

SAID = ("code", "detail", "rule", "tried", "granted", "missing")
GRANTS = ("worklogs", "worklogs:view", "teams:view", "accounts")
SEGMENTS = (
    "4",
    "worklogs",
    "search",
    "hidden",
    "teams",
    "accounts",
    "files",
    "status",
    "limited-status",
    "plans",
    ".scopegate",
    "me",
    "routes",
    "a%2Fb",
    "a..",
    "..",
    "1",
    "Worklogs",
    "%41",
)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "TRACE")
CASES = [
    ("GET", "/4/teams/1"),
    ("PUT", "/4/worklogs/1"),
    ("GET", "/4/worklogs/hidden"),
    ("GET", "/4/plans"),
    ("GET", "/4"),
    ("GET", "/nowhere/at/all"),
    ("GET", "/"),
    ("DELETE", "/4/files/a"),
    ("GET", "/4/worklogs/a%2Fb"),
    ("GET", "/4/status-of-all"),
]


@pytest.fixture(scope="module")
def token(gateway: GatewayProcess) -> Made:
    return gateway.make("worklogs:view", owner="ana")


def by_api(gateway: GatewayProcess, method: str, path: str, token: Made) -> dict[str, Any]:
    return dict(gateway.api("POST", "/explain", {"method": method, "path": path, "token_id": token.id}))


@pytest.mark.parametrize(("method", "path"), CASES)
def test_the_refusal_the_api_and_the_command_line_say_the_same(
    method: str, path: str, token: Made, gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    answer = gateway.ask(method, path, token=token.secret)
    document = json.loads(answer.body)
    asked = by_api(gateway, method, path, token)
    done = gateway.cli("policy", "explain", method, path, "--token", token.id, "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert {name: document[name] for name in SAID} == {name: asked[name] for name in SAID} == {name: told[name] for name in SAID}
    assert document["granted"] == ["worklogs:view"]
    text = gateway.cli("policy", "explain", method, path, "--token", token.id).stdout.replace("\n", " ")
    assert document["detail"] in text
    for tried in document["tried"]:
        assert f"{tried['rule']}, " in text
        assert tried["why"] in text


def test_what_came_near_is_told_with_where_it_parts(token: Made, gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    def tried(path: str) -> list[tuple[str, str]]:
        return [(each["rule"].rpartition(" ")[2], each["why"]) for each in json.loads(gateway.ask("GET", path, token=token.secret).body)["tried"]]

    assert ("/4/files/{name}", "goes on with '{name}' where the path ends") in tried("/4/files")
    assert ("/4/limited/{name}", "ends where the path goes on with segment 4") in tried("/4/limited/a/b")
    assert tried("/5/worklogs")[0] == ("/4/worklogs/**", "has '4' in place of the path's segment 1")


def test_a_path_is_nowhere_quoted_so_that_nothing_of_it_is_kept_and_no_answer_grows_with_it(
    token: Made, gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    """Seen to fail with the path's segment in the words: most of another token's secret, and 25 KB a refusal."""
    cut = gateway.make("worklogs").secret[:-1]
    answer = gateway.ask("GET", f"/{cut}", "X-Request-Id: quoted-1", token=token.secret)
    assert cut not in answer.body.decode()
    assert len(gateway.ask("GET", f"/{'a' * 7000}", token=token.secret).body) < 2000
    decisions = eventually(lambda: json.loads(gateway.cli("explain", "quoted-1", "--json").stdout)["decisions"], "the decision", 20)
    assert cut not in json.dumps(decisions)


def test_of_other_refusals_of_a_good_token_the_rule_and_what_it_holds_are_told_too(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Seen to fail with "no rule" and "nothing" for a body that was too large."""
    made = gateway.make("worklogs")
    assert gateway.ask("POST", "/4/small/a", "X-Request-Id: large-1", token=made.secret, body=b"x" * 2000).code == "body_too_large"
    (decision,) = eventually(lambda: json.loads(gateway.cli("explain", "large-1", "--json").stdout)["decisions"], "the decision", 20)
    assert (decision["rule"], decision["granted"], decision["token_id"]) == ("POST /4/small/{name}", ["worklogs:manage"], made.id)


@pytest.mark.parametrize(("method", "path"), [("GET", "/.scopegate/me"), ("DELETE", "/.scopegate/me"), ("GET", "/.scopegate/none")])
def test_what_the_gateway_answers_itself_is_explained_as_it_is_answered(
    method: str, path: str, token: Made, gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    answer = gateway.ask(method, path, token=token.secret)
    asked = by_api(gateway, method, path, token)
    told = json.loads(gateway.cli("policy", "explain", method, path, "--token", token.id, "--json").stdout)
    assert asked == told
    assert (answer.status == 200) == (asked["decision"] == "allow")
    if answer.status != 200:
        document = json.loads(answer.body)
        assert {name: document[name] for name in SAID} == {name: asked[name] for name in SAID}


def test_who_holds_no_good_token_learns_nothing(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    made = gateway.make("worklogs")
    gateway.api("DELETE", f"/tokens/{made.id}")
    for secret in ("", made.secret):
        for path in ("/4/teams/1", "/nowhere"):
            assert not {"rule", "tried", "granted", "missing"} & set(json.loads(gateway.ask("GET", path, token=secret).body))


def test_a_refused_request_is_found_by_its_id(token: Made, gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    document = json.loads(gateway.ask("GET", "/4/teams/1?q=private", "X-Request-Id: asked-for-1", token=token.secret).body)

    def found() -> Any:
        done = gateway.cli("explain", "asked-for-1", "--json")
        return json.loads(done.stdout)["decisions"] if done.returncode == 0 else None

    (decision,) = eventually(found, "the decision in the store", 20)
    assert {name: decision[name] for name in SAID} == {name: document[name] for name in SAID}
    assert {name: decision[name] for name in ("token_id", "owner", "method", "path", "client", "status", "decision", "forwarded")} == {
        "token_id": token.id,
        "owner": "ana",
        "method": "GET",
        "path": "/4/teams/1",
        "client": "127.0.0.1",
        "status": 403,
        "decision": "deny",
        "forwarded": False,
    }
    text = gateway.cli("explain", "asked-for-1").stdout
    assert "deny: scope_missing (403). The route needs teams:view; the token holds worklogs:view." in text
    assert "private" not in text + json.dumps(decision)


def test_others_are_found_without_what_only_a_good_token_is_told(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    bad = "sgt_0123456789ab_" + "x" * 38
    gateway.ask("GET", f"/4/{bad}/1", "X-Request-Id: unknown-1", f"Authorization: Bearer {bad}")
    decisions = eventually(lambda: json.loads(gateway.cli("explain", "unknown-1", "--json").stdout)["decisions"], "the decision", 20)
    assert (decisions[0]["code"], decisions[0]["rule"], decisions[0]["token_id"]) == ("token_malformed", None, None)
    assert bad not in json.dumps(decisions)


def test_an_id_that_is_not_there_is_exit_1(gateway: GatewayProcess) -> None:
    done = gateway.cli("explain", "no-such-request")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no refusal of this request id among the last 10,000" in done.stderr


class Peer:
    """One kept connection, opened anew where the gateway has closed it."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway
        self._wire = gateway.wire()

    def ask(self, method: str, target: str, secret: str) -> str:
        """The code of the refusal, "allow", or for HEAD the status."""
        self._wire.send(request(method, target, token=secret))
        answer = self._wire.answer(method)
        if answer.one("connection") == "close":
            self._wire.close()
            self._wire = self._gateway.wire()
        if method == "HEAD":  # a refusal without a body
            return str(answer.status)
        return "allow" if answer.status == 200 else answer.code

    def close(self) -> None:
        self._wire.close()


@pytest.fixture(scope="module")
def peer(gateway: GatewayProcess) -> Iterator[Peer]:
    peer = Peer(gateway)
    yield peer
    peer.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(METHODS), parts=st.lists(st.sampled_from(SEGMENTS), max_size=4), end=st.sampled_from(["", "/", "//"]), grant=st.sampled_from(GRANTS)
)
def test_explain_says_what_the_proxy_does(
    method: str, parts: list[str], end: str, grant: str, gateway: GatewayProcess, peer: Peer, shared_upstream: ScriptedUpstream
) -> None:
    target = "/" + "/".join(parts) + end
    secret = gateway.token(grant)
    asked = gateway.api("POST", "/explain", {"method": method, "path": target, "grants": [grant]}) if method != "TRACE" else {"code": "method_not_allowed"}
    said = peer.ask(method, target, secret)
    code = asked["code"]
    assert said == (str(REASONS[code].status if code else 200) if method == "HEAD" else code or "allow")


def test_the_policy_of_these_tests_is_the_one_that_runs(gateway: GatewayProcess) -> None:
    assert gateway.policy_file.read_text() == POLICY
