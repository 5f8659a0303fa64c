"""``/.scopegate/me`` and what is under it: a bearer asks what its token is and may do. Raw bytes to a gateway that runs."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.gateway import POLICY, GatewayProcess, NotReady, command_line
from tests.harness.upstream import ScriptedUpstream
from tests.harness.waiting import eventually
from tests.harness.wire import Answer, request

ME, ROUTES, OPENAPI = "/.scopegate/me", "/.scopegate/me/routes", "/.scopegate/me/openapi.json"
ALL = (ME, ROUTES, OPENAPI)
EVERYTHING = POLICY.replace("unmapped:", '  - {path: "/**", scope: accounts}\nunmapped:')
SPEC: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Work", "version": "4"},
    "servers": [{"url": "https://upstream.internal/4"}],
    "security": [{"upstreamKey": []}],
    "tags": [{"name": "work"}, {"name": "people"}],
    "paths": {
        "/worklogs": {
            "get": {"tags": ["work"], "responses": {"200": {"$ref": "#/components/responses/Worklogs"}}},
            "post": {"tags": ["work"], "responses": {"201": {"description": "made"}}},
        },
        "/teams/{id}": {"get": {"tags": ["people"], "operationId": "getTeam", "responses": {"200": {"$ref": "#/components/responses/Team"}}}},
        "/status": {"get": {"responses": {"200": {"description": "up"}}}},
    },
    "components": {
        "responses": {
            "Worklogs": {"description": "them", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Worklog"}}}},
            "Team": {"description": "it", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Team"}}}},
        },
        "schemas": {"Worklog": {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Worklog"}}}, "Team": {"type": "object"}},
        "securitySchemes": {"upstreamKey": {"type": "apiKey", "in": "header", "name": "X-Key"}},
    },
}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("spec") / "api.json"
    file.write_text(json.dumps(SPEC))
    return file


@pytest.fixture(scope="module")
def api() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def described(api: ScriptedUpstream, spec: Path) -> Iterator[GatewayProcess]:
    """A gateway that has the API's description, and a policy that maps every path to a scope."""
    with GatewayProcess(api.url, policy=EVERYTHING, settings={"openapi": str(spec)}) as running:
        yield running
        assert "Traceback" not in running.log()
        assert "report this" not in running.log()


def line_of(gateway: GatewayProcess, request_id: str) -> dict[str, Any]:
    return eventually(lambda: [line for line in gateway.access_lines() if line["request_id"] == request_id], "the line in the log")[0]


# -- the record


def test_a_bearer_sees_its_own_record_as_the_management_api_tells_it(gateway: GatewayProcess) -> None:
    token = gateway.make("worklogs:view", name="Nightly report", owner="ana", description="for the report")
    answer = gateway.ask("GET", ME, token=token.secret)
    assert answer.status == 200
    assert (answer.one("Content-Type"), answer.one("Cache-Control")) == ("application/json", "no-store")
    told = answer.json["token"]
    known = gateway.api("GET", f"/tokens/{token.id}")["token"]
    beside_the_requests = {"last_used_at", "last_used_from"}
    assert told.keys() == known.keys()
    assert {key: told[key] for key in told.keys() - beside_the_requests} == {key: known[key] for key in known.keys() - beside_the_requests}
    assert told["name"] == "Nightly report"


def test_a_full_token_is_told_how_many_scopes_came_later(gateway: GatewayProcess) -> None:
    token = gateway.make()
    assert gateway.ask("GET", ME, token=token.secret).json["token"]["scopes_added_since"] == 0


def test_no_secret_and_no_digest_is_told(gateway: GatewayProcess) -> None:
    token = gateway.make("worklogs")
    told = gateway.ask("GET", ME, token=token.secret).body.decode()
    with gateway.store() as store:
        digest = str(store.hget(f"sg:info:{{{token.id}}}", "digest"))
    assert len(digest) > 20
    assert digest not in told
    assert token.secret.split("_")[2] not in told


def test_asking_counts_as_use_of_the_token_and_of_no_scope(gateway: GatewayProcess) -> None:
    token = gateway.make("worklogs")
    gateway.ask("GET", ME, token=token.secret)
    usage = eventually(lambda: (found := gateway.api("GET", f"/tokens/{token.id}/usage"))["routes"] and found, "the usage")
    assert usage["last_used_at"] is not None
    assert [(route["route"], route["scope"]) for route in usage["routes"]] == [(ME, "")]
    assert (usage["scopes"], usage["unused_scopes"], usage["narrowed_grants"]) == ([], ["worklogs"], [])


# -- the routes


def test_the_routes_are_those_that_the_token_may_call_with_the_methods_that_it_may_use(gateway: GatewayProcess) -> None:
    answer = gateway.ask("GET", ROUTES, token=gateway.token("worklogs:view"))
    assert answer.json["policy"] == hashlib.sha256(gateway.policy_file.read_bytes()).hexdigest()
    told = {route["path"]: route for route in answer.json["routes"]}
    assert told["/4/worklogs/**"] == {
        "path": "/4/worklogs/**",
        "methods": ["GET", "HEAD", "OPTIONS"],
        "scope": "worklogs",
        "access": "view",
        "resource": None,
        "public": False,
    }
    assert told["/4/worklogs/search"]["methods"] == ["POST"]
    assert told["/4/status/**"] == {
        "path": "/4/status/**",
        "methods": ["GET", "HEAD", "POST"],
        "scope": None,
        "access": None,
        "resource": None,
        "public": True,
    }
    assert "/4/small/{name}" not in told, "it only takes POST, which manages"
    assert b"teams" not in answer.body
    assert b"accounts" not in answer.body
    assert b"hidden" not in answer.body


def test_a_route_that_a_reload_brings_is_told_to_its_token(api: ScriptedUpstream) -> None:
    with GatewayProcess(api.url) as own:
        token = own.make("worklogs")
        before = own.ask("GET", ROUTES, token=token.secret).json
        own.policy_file.write_text(POLICY.replace("unmapped:", "  - {path: /4/more, scope: worklogs}\nunmapped:"))
        own.tell(signal.SIGHUP)
        after = eventually(lambda: (told := own.ask("GET", ROUTES, token=token.secret).json)["policy"] != before["policy"] and told, "the new policy")
        assert {route["path"] for route in after["routes"]} - {route["path"] for route in before["routes"]} == {"/4/more"}


# -- the document


def test_the_document_holds_what_the_token_may_call_and_nothing_else(described: GatewayProcess) -> None:
    answer = described.ask("GET", OPENAPI, token=described.token("worklogs:view"))
    assert answer.status == 200
    document = answer.json
    assert {path: sorted(item) for path, item in document["paths"].items()} == {"/worklogs": ["get"], "/status": ["get"]}
    assert document["paths"]["/status"]["get"]["security"] == []
    assert sorted(document["components"]["schemas"]) == ["Worklog"]
    assert document["tags"] == [{"name": "work"}]
    assert document["servers"] == [{"url": "/4"}]
    assert document["security"] == [{"scopegate": []}]
    assert document["components"]["securitySchemes"] == {"scopegate": {"type": "http", "scheme": "bearer"}}
    assert b"Team" not in answer.body
    assert b"internal" not in answer.body


def test_each_operation_of_the_document_is_allowed_on_the_wire_and_each_left_out_is_refused(described: GatewayProcess) -> None:
    for grants in ([], ["worklogs:view"], ["worklogs"], ["teams"], ["accounts"]):
        token = described.token(*grants)
        paths = described.ask("GET", OPENAPI, token=token).json["paths"]
        for path, item in SPEC["paths"].items():
            for verb in item:
                status = described.ask(verb.upper(), "/4" + path.replace("{id}", "17"), token=token).status
                assert status == (200 if verb in paths.get(path, {}) else 403), (grants, verb, path)


def test_without_a_document_there_is_none_and_the_answer_says_so(gateway: GatewayProcess) -> None:
    answer = gateway.ask("GET", OPENAPI, token=gateway.token("worklogs"))
    assert (answer.status, answer.code, answer.json["detail"]) == (404, "route_unmapped", "No OpenAPI document is configured here.")


def test_a_document_that_changes_is_read_anew_and_one_that_breaks_changes_nothing(api: ScriptedUpstream, tmp_path: Path) -> None:
    file = tmp_path / "api.json"
    file.write_text(json.dumps(SPEC))
    with GatewayProcess(api.url, settings={"openapi": str(file)}) as own:
        token = own.token("worklogs")

        def title() -> str:
            return str(own.ask("GET", OPENAPI, token=token).json["info"]["title"])

        assert title() == "Work"
        fresh = tmp_path / "fresh.json"
        fresh.write_text(json.dumps({**SPEC, "info": {"title": "Labour", "version": "5"}}))
        fresh.replace(file)
        assert title() == "Labour"
        file.write_text("{")
        assert title() == "Labour"
        assert own.log().count("the one before stays") == 1
        file.unlink()
        assert title() == "Labour"
        file.write_text(json.dumps(SPEC))
        assert title() == "Work"


def test_a_document_in_yaml_with_a_public_address_is_told_at_that_address(api: ScriptedUpstream, tmp_path: Path) -> None:
    file = tmp_path / "api.yaml"
    file.write_text(
        "swagger: '2.0'\ninfo: {title: Work, version: 012}\nhost: upstream.internal\nbasePath: /4\npaths: {/worklogs: {get: {responses: {200: {description: no}}}}}\n"
    )
    with GatewayProcess(api.url, settings={"openapi": str(file), "public_url": "https://api.example.com/v"}) as own:
        document = own.ask("GET", OPENAPI, token=own.token("worklogs")).json
    assert (document["host"], document["basePath"], document["schemes"]) == ("api.example.com", "/v/4", ["https"])
    assert document["info"]["version"] == "012"
    assert document["paths"]["/worklogs"]["get"]["responses"] == {"200": {"description": "no"}}


@pytest.mark.parametrize(
    ("text", "why"), [(None, "no such file"), ("{", "this is not JSON"), ("a: b", "no OpenAPI document"), ("openapi: 3.0.0\npaths: {}", "no operation")]
)
def test_a_document_that_cannot_be_used_stops_the_start_and_doctor_tells(text: str | None, why: str, api: ScriptedUpstream, tmp_path: Path) -> None:
    file = tmp_path / "api.yaml"
    if text is not None:
        file.write_text(text)
    own = GatewayProcess(api.url, settings={"openapi": str(file)})
    try:
        with pytest.raises(NotReady, match="serve ended with 2") as told:
            own.start()
        lines = [line for line in str(told.value).splitlines() if line.startswith("scopegate: ")]
        assert len(lines) == 1
        assert str(file) in lines[0]
        assert why in lines[0]
        (line,) = [line for line in own.cli("doctor").stdout.splitlines() if line.startswith("fail openapi: ")]
        assert why in line
    finally:
        own.close()


# -- who is answered, and how


@pytest.mark.parametrize("target", ALL)
def test_who_shows_no_good_token_is_refused_as_everywhere(target: str, described: GatewayProcess) -> None:
    assert described.ask("GET", target).code == "token_missing"
    assert described.ask("GET", target, "Authorization: Bearer nothing").code == "token_malformed"
    token = described.make("worklogs")
    described.api("POST", f"/tokens/{token.id}/suspend", {})
    assert described.ask("GET", target, token=token.secret).code == "token_suspended"
    described.api("DELETE", f"/tokens/{token.id}")
    assert described.ask("GET", target, token=token.secret).code == "token_revoked"
    elsewhere = described.make("worklogs", allowed_ips=["10.0.0.0/8"])
    assert described.ask("GET", target, token=elsewhere.secret).code == "ip_not_allowed"


@pytest.mark.parametrize("target", ["/.scopegate/", "/.scopegate/other", "/.scopegate/me/other", "/.scopegate/me/routes/1", "/.scopegate/healthz?x"])
def test_what_else_is_under_the_prefix_is_never_forwarded(target: str, described: GatewayProcess, api: ScriptedUpstream) -> None:
    """The policy maps every path. Seen to fail with the policy's own table asked."""
    api.clear()
    token = described.token("accounts")
    assert described.ask("GET", target, token=token).code == "route_unmapped"
    assert described.ask("GET", target).code == "token_missing"
    api.settle()
    assert not api.seen


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_get_and_head_are_taken(method: str, described: GatewayProcess) -> None:
    answer = described.ask(method, ME, token=described.token("worklogs"))
    assert (answer.code, answer.one("Allow")) == ("method_not_allowed", "GET, HEAD")


def test_a_path_that_only_looks_like_it_is_judged_by_the_policy(gateway: GatewayProcess) -> None:
    token = gateway.token("worklogs")
    assert gateway.ask("GET", "/.scopegate", token=token).code == "route_unmapped"
    assert gateway.ask("GET", "/.SCOPEGATE/me", token=token).code == "route_unmapped"
    assert gateway.ask("GET", "/.scopegate%2Fme", token=token).code == "path_ambiguous"
    assert gateway.ask("GET", "/%2escopegate/me", token=token).status == 200
    assert gateway.ask("GET", "/4/../.scopegate/me", token=token).code == "path_ambiguous"


@pytest.mark.parametrize("target", ALL)
def test_head_is_answered_like_get_without_the_body(target: str, described: GatewayProcess) -> None:
    token = described.token("worklogs")
    got, headed = described.ask("GET", target, token=token), described.ask("HEAD", target, token=token)
    assert (headed.status, headed.body) == (200, b"")
    if target != ME:  # whose last use may be another by now
        assert headed.one("Content-Length") == got.one("Content-Length") == str(len(got.body))


def test_requests_that_come_at_once_are_answered_in_their_order_on_a_connection_that_stays(described: GatewayProcess) -> None:
    token = described.token("worklogs")
    with described.wire() as wire:
        for _ in range(2):
            wire.send(*(request("GET", target, token=token, body=b"unread" if target == ROUTES else None) for target in (*ALL, "/4/worklogs/1", *ALL)))
            answers = [wire.answer("GET") for _ in range(7)]
            assert [answer.status for answer in answers] == [200] * 7
            assert [list(answers[number].json) for number in (0, 1, 2)] == [list(answers[number].json) for number in (4, 5, 6)]


def test_an_old_client_is_answered_and_its_connection_closes_unless_it_asks(described: GatewayProcess) -> None:
    token = described.token("worklogs")
    with described.wire() as wire:
        wire.send(request("GET", ME, "Connection: keep-alive", token=token, version="1.0"))
        assert wire.answer("GET").one("Connection") == "keep-alive"
        wire.send(request("GET", ME, token=token, version="1.0"))
        assert wire.answer("GET").one("Connection") == "close"


def test_the_request_id_comes_back_and_stands_in_the_access_log(described: GatewayProcess) -> None:
    token = described.make("worklogs", owner="ana")
    answer = described.ask("GET", f"{ROUTES}?q=private", "X-Request-Id: asked-1", token=token.secret)
    assert answer.one("X-Request-Id") == "asked-1"
    line = line_of(described, "asked-1")
    assert (line["status"], line["path"], line["route"], line["token_id"], line["owner"], line["bytes_out"]) == (
        200,
        ROUTES,
        ROUTES,
        token.id,
        "ana",
        len(answer.body),
    )


def test_the_end_of_a_token_that_is_near_is_told(described: GatewayProcess) -> None:
    assert described.ask("GET", ME, token=described.make("worklogs", expires_in_days=3).secret).one("X-Scopegate-Token-Expires")
    assert described.ask("GET", ME, token=described.make("worklogs", expires_in_days=30).secret).one("X-Scopegate-Token-Expires") is None


# -- what surrounds it


def test_a_policy_that_only_reports_forwards_none_of_it(api: ScriptedUpstream) -> None:
    """Seen to fail with the operator's policy asked whether a refusal is only reported."""
    with GatewayProcess(api.url, policy=POLICY + "enforcement: report\n") as own:
        api.clear()
        token = own.token("worklogs:view")
        assert own.ask("GET", ME, token=token).status == 200
        assert own.ask("GET", ME).code == "token_missing"
        assert own.ask("GET", ME, "Authorization: Bearer of-the-api").code == "token_malformed"
        assert own.ask("POST", ME, token=token).code == "method_not_allowed"
        assert own.ask("GET", "/.scopegate/x", token=token).code == "route_unmapped"
        told = {route["path"]: route["methods"] for route in own.ask("GET", ROUTES, token=token).json["routes"]}
        assert told["/4/worklogs/**"] == ["GET", "HEAD", "OPTIONS"]
        assert "/4/teams/**" not in told
        api.settle()
        assert not api.seen


def test_another_prefix_takes_its_place_and_off_takes_it_away(api: ScriptedUpstream) -> None:
    policy = EVERYTHING
    with GatewayProcess(api.url, policy=policy, settings={"own_prefix": "/about/us/"}) as own:
        token = own.token("accounts")
        assert own.ask("GET", "/about/us/me", token=token).json["token"]["access"] == "custom"
        api.clear()
        assert own.ask("GET", ME, token=token).status == 200
        assert [seen.target for seen in api.seen] == [ME]
        assert own.ask("GET", "/.scopegate/healthz").body == b"ok\n"
        own.stop()
        own.settings["own_prefix"] = "off"
        own.start()
        api.clear()
        assert own.ask("GET", "/about/us/me", token=token).status == 200
        assert [seen.target for seen in api.seen] == ["/about/us/me"]


def test_a_policy_with_a_route_under_the_prefix_is_refused(api: ScriptedUpstream) -> None:
    own = GatewayProcess(api.url, policy=POLICY.replace("unmapped:", '  - {path: "/.scopegate/{x}", scope: teams}\nunmapped:'))
    try:
        with pytest.raises(NotReady, match=r"what is under /\.scopegate/ the gateway answers itself"):
            own.start()
    finally:
        own.close()


def test_without_the_store_nothing_is_told(api: ScriptedUpstream) -> None:
    with GatewayProcess(api.url) as own:
        token = own.make("worklogs")
        assert own.ask("GET", ME, token=token.secret).status == 200
        pid = own.store_pid()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            answers: list[Answer] = eventually(
                lambda: (got := [own.ask("GET", target, token=token.secret) for target in (ME, ROUTES)])[1].status == 503 and got, "the lease to end"
            )
            assert [answer.code for answer in answers] == ["store_unavailable", "store_unavailable"]
        finally:
            os.kill(pid, signal.SIGCONT)


def test_a_token_that_ends_while_its_answer_is_made_gets_none(api: ScriptedUpstream, tmp_path: Path) -> None:
    """Seen to fail without the second decision."""
    file = tmp_path / "api.yaml"
    file.write_text(json.dumps(SPEC))
    with GatewayProcess(api.url, settings={"openapi": str(file)}) as own:
        token = own.make("worklogs")
        properties = "".join(f"        p{number}: {{type: string, description: one of very many}}\n" for number in range(30_000))
        file.write_text(f"openapi: 3.0.3\ninfo: {{title: Long, version: 1}}\npaths: {{/4/worklogs: {{get: {{}}}}}}\nx-long:\n    all:\n{properties}")
        with own.wire() as wire:
            wire.send(request("GET", OPENAPI, token=token.secret))
            reader = eventually(lambda: [pid for pid in grandchildren(own) if b"document_process" in command_line(pid)], "the reading to begin")[0]
            os.kill(reader, signal.SIGSTOP)
            try:
                own.api("DELETE", f"/tokens/{token.id}")
            finally:
                os.kill(reader, signal.SIGCONT)
            assert wire.answer("GET").code == "token_revoked"
        assert own.ask("GET", OPENAPI, token=own.token("worklogs")).json["info"]["title"] == "Long"


def grandchildren(gateway: GatewayProcess) -> list[int]:
    """The processes that the workers have started."""
    return [int(pid) for worker in gateway.workers() for pid in Path(f"/proc/{worker}/task/{worker}/children").read_text().split()]
