from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gateway.core.policy import Policy
from gateway.core.route import METHODS, RateLimit
from gateway.core.scope import MANAGE, VIEW
from gateway.policy_file.document import DocumentFault
from gateway.policy_file.load import failing_tests, load_policy, parse_policy, parse_untested

GOOD = """\
version: 1
tokens: {default_expiry_days: 7, max_expiry_days: 90, max_per_owner: 5}
scopes:
  worklogs: {title: Worklogs, resources: [Worklogs, Work Attributes]}
  plans: {title: Plans, resources: [Plans, Programs], since: 2026-03-01, was: [planning]}
routes:
  - {path: "/4/worklogs/**", scope: worklogs, resource: Worklogs}
  - {path: /4/worklogs/search, methods: [post], scope: worklogs, access: view, resource: Worklogs}
  - {path: "/4/plans/{id}/", methods: [DELETE, GET], scope: plans, access: manage, upstream: second, rate_limit: {requests: 100, per: 60s},
     timeout: 1500ms, max_body: 16KiB, stream: true, encoded_slash: true, enforcement: enforce}
  - {path: /4/status, methods: [GET], public: true}
unmapped: ["get /4/skills/"]
tests:
  - {request: GET /4/worklogs/12, grants: ["worklogs:view"], expect: allow}
  - {request: GET /4/plans/1, grants: [worklogs], expect: scope_missing}
  - {request: GET /4/plans/1, grants: [planning], expect: allow}
  - {request: GET /4/status, expect: allow}
  - {request: get /4/skills, expect: route_unmapped}
paths: {ignore_case: false}
enforcement: enforce
"""


def faults(text: str | bytes) -> list[str]:
    with pytest.raises(DocumentFault) as caught:
        parse_policy(text, "p")
    return str(caught.value).splitlines()


def with_routes(*routes: str, scopes: str = "{a: {}}", more: str = "") -> str:
    return f"version: 1\nscopes: {scopes}\nroutes:\n" + "".join(f"  - {route}\n" for route in routes) + more


def test_policy_holds_what_the_file_says() -> None:
    policy = parse_policy(GOOD, "p")
    assert isinstance(policy, Policy)
    assert (policy.default_expiry_days, policy.max_expiry_days, policy.max_per_owner, policy.ignore_case) == (7, 90, 5, False)
    assert list(policy.scopes) == ["worklogs", "plans"]
    plans = policy.scopes["plans"]
    assert (plans.title, plans.resources, plans.since_ms, plans.was) == ("Plans", ("Plans", "Programs"), 1_772_323_200_000, ("planning",))
    wide, search, one, status, skills = policy.routes
    assert (wide.template, wide.methods, wide.scope, wide.access, wide.resource, wide.line) == (
        "/4/worklogs/**",
        METHODS,
        policy.scopes["worklogs"],
        0,
        "Worklogs",
        7,
    )
    assert (search.methods, search.access, search.needs("POST")) == (("POST",), VIEW, VIEW)
    assert (one.template, one.methods, one.access, one.upstream, one.rate_limit) == (
        "/4/plans/{id}",
        ("GET", "DELETE"),
        MANAGE,
        "second",
        RateLimit(100, 60_000),
    )
    assert (one.timeout_s, one.max_body, one.stream, one.encoded_slash, one.report) == (1.5, 16_384, True, True, False)
    assert (status.public, status.scope, status.timeout_s, status.max_body, status.stream) == (True, None, None, None, False)
    assert (skills.template, skills.methods, skills.unmapped, skills.line) == ("/4/skills", ("GET",), True, 12)


def test_defaults_are_those_of_the_contract() -> None:
    policy = parse_policy(with_routes("{path: /a, scope: a}"), "p")
    assert (policy.default_expiry_days, policy.max_expiry_days, policy.max_per_owner) == (30, 5000, 100)
    assert policy.scopes["a"].title == "a"


def test_hash_is_that_of_the_bytes() -> None:
    crlf = GOOD.replace("\n", "\r\n").encode()
    assert parse_policy(GOOD, "p").hash == hashlib.sha256(GOOD.encode()).hexdigest()
    assert parse_policy(b"\xef\xbb\xbf" + crlf, "p").hash == hashlib.sha256(b"\xef\xbb\xbf" + crlf).hexdigest()


def test_file_is_named_in_its_faults(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(GOOD)
    assert load_policy(file).name == str(file)
    file.write_text(GOOD.replace("version: 1", "version: 2"))
    with pytest.raises(DocumentFault) as caught:
        load_policy(file)
    assert str(caught.value) == f"{file}:1:10: version: '2' is not one of '1'"


def test_names_that_yaml_would_change_mean_themselves() -> None:
    policy = parse_policy(
        with_routes("{path: /no, scope: no}", "{path: /012, scope: 012}", "{path: /1, scope: on}", scopes="{no: {title: yes}, 012: {title: 1:30}, on: {}}"), "p"
    )
    assert [(scope.id, scope.title) for scope in policy.scopes.values()] == [("no", "yes"), ("012", "1:30"), ("on", "on")]


def test_failing_test_of_its_own_refuses_the_policy_at_its_line() -> None:
    bad = GOOD.replace('grants: ["worklogs:view"], expect: allow', 'grants: ["plans:view", worklogs], expect: scope_missing').replace(
        "expect: route_unmapped", "expect: allow"
    )
    assert faults(bad) == [
        "p:14:5: GET /4/worklogs/12 with plans:view, worklogs: expected scope_missing, got allow",
        "p:18:5: GET /4/skills with no grant: expected allow, got route_unmapped",
    ]
    compiled = parse_untested(bad, "p")
    assert len(compiled.expectations) == 5
    assert len(failing_tests(compiled)) == 2


BAD = """\
version: 1
tokens: {default_expiry_days: 60, max_expiry_days: 50, max_per_owner: 0}
scopes:
  worklogs: {titel: Worklogs, was: [plans]}
  plans: {since: 2026-13-01, was: [planning]}
  teams: {was: [old]}
  roles: {was: [old, plans]}
  Foo: {}
  worklogs: {}
routes:
  - {path: /a/**, scope: worklog}
  - {path: /b, methods: [PSOT], scope: worklogs, access: vew}
  - {path: "/c/{id}", scope: plans}
  - {path: "/c/{no}/", methods: [get], scope: plans, enforcement: reprot}
  - {path: "/c/{no}/", methods: [get], scope: plans}
  - {path: "/d/{on}", methods: [head], scope: plans, rate_limit: {requests: 0, per: 0s}}
  - {path: /e, methods: [GET], public: true, access: view}
  - {path: /../f, methods: [], scope: plans}
  - {path: /g, public: yes}
unmapped: [/h, "GET /c/{x}"]
tests:
  - {request: GET /a, grants: [worklog, "teams:vew"], expect: allowed}
  - {request: GET /a, grants: [worklog], expect: allow}
enforcement: off
foo: bar
"""


def test_every_fault_of_every_kind_is_told_at_once_sorted_by_place() -> None:
    assert faults(BAD) == [
        "p:2:71: max_per_owner: '0' is out of range: at least 1",
        "p:4:14: unknown key 'titel' in scopes.worklogs: did you mean 'title'?",
        "p:5:18: since: 2026-13-01 is no day of the calendar",
        "p:6:3: scope 'teams' has no route: map one to it, or remove it",
        "p:7:3: scope 'roles' has no route: map one to it, or remove it",
        "p:7:17: was: 'old' is claimed in line 6 already: only one scope can take its grants over",
        "p:7:22: was: 'plans' is a scope of this policy: a former id can't be a present one",
        "p:8:3: 'Foo' is no scope id: small letters, digits, and inside it also . _ -, at most 64",
        "p:9:3: the key 'worklogs' is given twice, first in line 4: keep one",
        "p:11:26: scope: 'worklog' is no scope of this policy: did you mean 'worklogs'?",
        "p:12:26: methods: 'PSOT' is no method that the gateway knows",
        "p:12:58: access: 'vew' is not one of 'view' or 'manage'",
        "p:14:67: enforcement: 'reprot' is not one of 'enforce' or 'report'",
        "p:15:5: line 15 and line 13 can't be told apart: both claim GET /c/{no} (/c/{id} there)",
        "p:16:77: requests: '0' is out of range: at least 1",
        "p:16:85: per: this must be more than nothing",
        "p:17:5: routes: a public route asks for no access: remove access",
        "p:18:12: path: no request can match this: the path holds a dot segment",
        "p:18:28: methods: at least 1 is needed",
        "p:19:24: public: 'yes' is neither true nor false",
        "p:20:12: unmapped: '/h': write METHOD and PATH with one blank between them",
        "p:20:16: line 20 and line 13 can't be told apart: both claim GET /c/{x} (/c/{id} there)",
        "p:22:41: grants: 'teams:vew' is no grant: after the colon comes view or manage",
        "p:22:63: expect: 'allowed' is not one of 'allow', 'scope_missing', 'route_unmapped', 'method_not_allowed' or 'path_ambiguous'",
        "p:23:32: grants: 'worklog' is no scope of this policy: did you mean 'worklogs'?",
        "p:24:14: enforcement: 'off' is not one of 'enforce' or 'report'",
        "p:25:1: unknown key 'foo': known here are version, tokens, scopes, routes, unmapped, tests, paths, enforcement",
    ]


def test_templates_may_hold_so_many_segments_in_all_and_no_more() -> None:
    deep = "/a" * 49
    routes = [f"{{path: /{number}{deep}, scope: a}}" for number in range(2000)]
    assert len(parse_policy(with_routes(*routes), "p").routes) == 2000
    (fault,) = faults(with_routes(*routes, "{path: /one, scope: a}"))
    assert "more than 100,000 segments in all" in fault


@pytest.mark.parametrize(
    ("routes", "fault"),
    [
        (["{path: /a, scope: a}", "{path: /a, scope: a}"], "p:5:5: line 5 and line 4 can't be told apart: both claim GET /a"),
        (
            ['{path: "/{x}/b", scope: a}', '{path: "/{y}/b", methods: [PUT], scope: a}'],
            "p:5:5: line 5 and line 4 can't be told apart: both claim PUT /{y}/b (/{x}/b there)",
        ),
        (
            ["{path: /a, methods: [GET], scope: a}", "{path: /a/, methods: [HEAD], scope: a}"],
            "p:5:5: line 5 and line 4 can't be told apart: both claim HEAD /a",
        ),
        (
            ["{path: /a, methods: [HEAD], scope: a}", "{path: /a/, methods: [GET], scope: a}"],
            "p:5:5: line 5 and line 4 can't be told apart: both claim HEAD /a",
        ),
        (["{path: /a, scop: a}"], "p:4:16: unknown key 'scop' in routes: did you mean 'scope'?"),
        (["{path: /%7ea, scope: a}", "{path: /~a, scope: a}"], "p:5:5: line 5 and line 4 can't be told apart: both claim GET /~a"),
        (["{path: /a/**, scope: a}", "{path: /a/**, public: true}"], "p:5:5: line 5 and line 4 can't be told apart: both claim GET /a/**"),
        (["{path: /a%2fb, scope: a}"], "p:4:5: routes: its path holds %2F, which no request may unless the route sets encoded_slash: true"),
        (["{path: /a, scope: a, public: true}"], "p:4:5: routes: a public route has no scope: remove one of the two"),
        (["{path: /a, scope: a}", "{path: /b}"], "p:5:5: routes: a route needs a scope, or public: true"),
        (["{path: /a, scope: a, methods: [GET, get]}"], "p:4:5: routes: methods names GET twice"),
        (["{path: /a, scope: a, methods: [TRACE]}"], "p:4:36: methods: TRACE is never forwarded, so no route may take it"),
        (["{path: /a, scope: a, upstream: 'http://x'}"], "p:4:36: upstream: 'http://x' is no name of an upstream: letters, digits, _ and -"),
        (["{path: /a, scope: a, max_body: 10}"], "p:4:36: max_body: '10' is not a size: write a whole number and B, KiB, MiB or GiB, as in 16KiB"),
        (["{path: /a, scope: a, resource: ' x'}"], "p:4:36: resource: this must be one line, without blanks around it"),
        (["[/a]"], "p:4:5: routes: a mapping is needed here, not a list"),
    ],
)
def test_fault_of_routes_is_told(routes: list[str], fault: str) -> None:
    assert faults(with_routes(*routes)) == [fault]


def test_routes_with_other_methods_or_shapes_are_told_apart() -> None:
    parse_policy(
        with_routes(
            "{path: /a, methods: [GET], scope: a}",
            "{path: /a, methods: [POST], scope: a}",
            "{path: /a/**, scope: a}",
            '{path: "/{a}", scope: a}',
            more="unmapped: [PUT /a]\n",
        ),
        "p",
    )


def test_case_counts_unless_the_policy_says_otherwise() -> None:
    routes = ("{path: /a, scope: a}", "{path: /A, scope: a}")
    parse_policy(with_routes(*routes), "p")
    assert faults(with_routes(*routes, more="paths: {ignore_case: true}\n")) == ["p:5:5: line 5 and line 4 can't be told apart: both claim GET /A (/a there)"]


def test_ignoring_case_is_refused_where_it_would_only_half_work() -> None:
    text = with_routes("{path: /café, scope: a}")
    parse_policy(text, "p")
    assert faults(text + "paths: {ignore_case: true}\n") == [
        "p:4:5: /caf%C3%A9: paths.ignore_case knows the case of ASCII letters only, and this literal holds others"
    ]


@pytest.mark.parametrize("value", ["2026-3-1", "01.03.2026", "2026-03-01T00:00:00Z", "1772323200", "2026-02-30", "[x]"])
def test_since_is_a_day_and_nothing_else(value: str) -> None:
    (fault,) = faults(with_routes("{path: /a, scope: a}", scopes=f"{{a: {{since: {value!r}}}}}" if value[0] != "[" else "{a: {since: [x]}}"))
    assert fault.startswith("p:2:21: since: ")


@pytest.mark.parametrize(("key", "value"), [("default_expiry_days", "0"), ("max_expiry_days", "5001"), ("max_expiry_days", "1.5"), ("max_per_owner", "many")])
def test_bounds_of_tokens_are_bounded(key: str, value: str) -> None:
    (fault,) = faults(with_routes("{path: /a, scope: a}", more=f"tokens: {{{key}: {value}}}\n"))
    assert key in fault


def test_default_expiry_is_within_the_longest() -> None:
    assert faults(with_routes("{path: /a, scope: a}", more="tokens: {max_expiry_days: 29}\n")) == [
        "p:5:9: tokens: default_expiry_days (30) is over max_expiry_days (29)"
    ]


def test_alias_is_told_once_and_not_also_as_a_value_that_is_missing() -> None:
    assert faults(with_routes("{path: &p /a, scope: a}", "{path: *p, scope: a}")) == [
        "p:4:12: an anchor (&p): remove it",
        "p:5:12: an alias (*p): write the value out",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version: 1", ["p:1:1: 'routes' is missing", "p:1:1: 'scopes' is missing"]),
        ("version: 1\nscopes: []\nroutes: x\n", ["p:2:9: scopes: a mapping is needed here, not a list", "p:3:9: routes: a list is needed here, not text"]),
        ("[]", ["p:1:1: the file must be a mapping: KEY: VALUE"]),
        ("", ["p: the file is empty"]),
        ("version: 1\nscopes: {", ["p:3:1: this is not YAML: while parsing a flow node did not find expected node content"]),
        (b"version: 1\n# \xff", ["p:2:3: byte 0xFF is not UTF-8: save the file as UTF-8"]),
    ],
)
def test_file_that_is_no_policy_at_all_is_told_plainly(text: str | bytes, told: list[str]) -> None:
    assert faults(text) == told


def test_ten_thousand_routes_load_and_the_last_is_found() -> None:
    policy = parse_policy(with_routes(*(f'{{path: "/4/area{number}/{{id}}", scope: a}}' for number in range(10_000))), "p")
    assert policy.table.find("/4/area9999/1", "GET") is policy.routes[-1]
