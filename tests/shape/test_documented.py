"""What a user meets is in docs/: every code, every field that is set or dropped, every field of the access log."""

from __future__ import annotations

import ast
import json
import re

import pytest

from gateway.core import forwarding
from gateway.core.audit import ACTIONS
from gateway.core.decision import Denial, denied
from gateway.core.explain import Reasons
from gateway.core.reason import REASONS
from gateway.core.token_record import TokenRecord
from gateway.flow.audit_backlog import REFUSED
from gateway.flow.token_json import record_json
from gateway.inbound.problem import document
from gateway.management.calls import CALLS
from gateway.management.payload import NewToken
from gateway.management.problem import MANAGEMENT_REASONS
from gateway.observe.access_log import AccessLine
from tests.harness.vectors import table
from tests.shape.tree import sources, syntax, text

REFUSALS = text("docs/refusals.md")
FORWARDING = text("docs/forwarding.md")
CODES, MANAGEMENT = REFUSALS.split("## On the management port")


def rows(page: str) -> dict[str, list[str]]:
    """The tables' rows by the code in their first cell."""
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in page.splitlines() if re.match(r"\| `[a-z_]+` \| \d", line)]
    return {row[0].strip("`"): row[1:] for row in cells}


def facts(code: str) -> list[str]:
    """Status and challenge as the page writes them."""
    reason = MANAGEMENT_REASONS[code]
    return [str(reason.status), {None: "–", "": "bare"}.get(reason.challenge, f"`{reason.challenge}`")]


@pytest.mark.parametrize("code", REASONS)
def test_the_page_tells_of_the_code_its_status_its_challenge_when_it_comes_and_what_to_do(code: str) -> None:
    status, challenge, when, then = rows(CODES)[code]
    assert [status, challenge] == facts(code)
    assert len(when) > 5
    assert len(then) > 5
    assert ("Retry-After" in when) == (REASONS[code].retry_after is not None) or code in {"rate_limited", "auth_throttled"}


def test_the_page_tells_of_no_other_code() -> None:
    assert list(rows(CODES)) == list(REASONS)


def test_the_management_ports_own_codes_are_told_with_status_and_challenge() -> None:
    own = {code: facts(code) for code in MANAGEMENT_REASONS if code not in REASONS}
    assert {code: row[:2] for code, row in rows(MANAGEMENT).items()} == own


def test_every_code_is_in_the_table_of_decisions() -> None:
    assert list(table("decisions")["codes"]) == list(REASONS)


def test_the_document_on_the_page_is_what_the_gateway_writes() -> None:
    shown = json.loads(re.findall(r"```json\n(.*?)```", REFUSALS, re.DOTALL)[0])
    denial: Denial = denied("scope_missing", shown["detail"], required_scope="worklogs:manage", granted=("worklogs:view",), missing=("worklogs:manage",))
    reasons = Reasons("GET, HEAD, POST /4/worklogs", (), denial.granted, denial.missing)
    assert shown == document(denial, shown["request_id"], reasons)
    assert [name for name in shown if f"`{name}`" not in CODES] == []


def literals(path: str) -> list[str]:
    """All texts of a source file but its docstrings."""
    tree = syntax(path)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in prose]
    return [value.decode("latin-1") if isinstance(value, bytes) else value for value in found if isinstance(value, str | bytes)]


def fields_set() -> set[str]:
    """The fields that the gateway writes by itself, up and down: ``Name: `` in a line that is written, or a name by itself in a mapping."""
    written = set()
    for path in sources():
        if path.startswith(("gateway/inbound/", "gateway/management/", "gateway/core/forwarding.py")):
            for value in literals(path):
                if "\r\n" in value or re.fullmatch(r"[A-Z][A-Za-z-]+: [^.]*", value):
                    written |= set(re.findall(r"(?:\A|\r\n)([A-Z][A-Za-z]*(?:-[A-Za-z]+)*): ", value))
                elif re.fullmatch(r"[A-Z][A-Za-z]*(?:-[A-Z][A-Za-z]+)+", value):
                    written.add(value)
    return written


def fields_judged() -> set[str]:
    """The fields that the table of names knows."""
    tables = (forwarding._HOP, forwarding._OVERRIDES, forwarding._CLAIMS, forwarding._FRAMING, forwarding._EXACT, forwarding._ANSWER)
    return {name.decode() for names in tables for name in names}


def documented() -> set[str]:
    return {name.lower() for name in re.findall(r"`([A-Za-z0-9-]+)(?::[^`]*)?`", FORWARDING)}


def test_the_fields_that_are_set_are_found() -> None:
    assert {"Via", "X-Forwarded-For", "X-Scopegate-Subject", "Retry-After", "WWW-Authenticate", "X-Content-Type-Options", "Date"} <= fields_set()


def test_every_field_that_is_set_is_told() -> None:
    assert sorted(name for name in fields_set() if name.lower() not in documented()) == []


def test_every_field_that_is_dropped_or_read_is_told() -> None:
    assert sorted(fields_judged() - documented()) == []


@pytest.mark.parametrize("name", ["X-Scopegate-Anything", "X-Forwarded-Anything", "X-Original-Anything"])
def test_whole_families_are_told_by_their_beginning(name: str) -> None:
    assert f"`{name.removesuffix('Anything')}…`" in FORWARDING
    assert forwarding.RequestNames()[name.encode()] != forwarding.KEEP


LOG = text("docs/operations.md").split("## The access log\n")[1].split("\n## ")[0]


def test_every_field_of_the_access_log_is_told_and_no_other() -> None:
    told = [name for row in re.findall(r"^\| (`.*?) \|", LOG, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(told) == sorted(AccessLine.__struct_fields__)


def test_every_way_in_which_an_answer_ends_is_told() -> None:
    ends = {code for path in sources() if path.startswith("gateway/inbound/") for code in re.findall(r'_cut\("(\w+)"\)', text(path))}
    assert len(ends) == 4
    assert [code for code in ends if f"`{code}`" not in LOG] == []


RECORD = TokenRecord(id="a" * 12, name="x", owner="ana", access="custom", grants=(), policy_scopes=(), created_at=0, expires_at=1, state="active", version=1)
API = text("docs/management-api.md")
_MADE = API.split("## Make a token\n")[1].split("\n## ")[0]


def told_calls() -> set[str]:
    """The calls of the page's table."""
    return {call for row in re.findall(r"^\| (.*?) \|", API, re.MULTILINE) for call in re.findall(r"`([A-Z]+ /[^`]*)`", row)}


def test_the_page_of_the_management_api_tells_every_call_and_no_other() -> None:
    """Seen to fail with a row left out."""
    assert told_calls() == {f"{call.method} {call.path.replace('{id}', 'ID').replace('{owner}', 'SUBJECT')}" for call in CALLS}


def test_it_tells_what_a_call_takes_in_its_query() -> None:
    for call in CALLS:
        if call.query is not None:
            (row,) = (line for line in API.splitlines() if line.startswith(f"| `{call.method} {call.path}` "))
            assert set(re.findall(r"`(\w+)`", row.split(" | ")[0])) == set(call.query.model_fields), row


def test_it_tells_every_field_of_a_new_token_and_the_whole_of_its_record() -> None:
    """Seen to fail without ``replaces``, and without ``reuse``."""
    assert [name for name in NewToken.model_fields if not re.search(rf"[`\"]{name}[`\"]", _MADE)] == []
    sample = json.loads(re.findall(r"^(\{\"token\".*?\})$", _MADE, re.MULTILINE | re.DOTALL)[0])
    assert list(sample["token"]) == list(record_json(RECORD, 0, None))


def actions() -> set[str]:
    """What is written to the audit log, as the source has it."""
    whole = "".join(text(path) for path in sources())
    steps = set(re.findall(r'\(token_id, \(?"([a-z]+)"', text("gateway/store/token_register.py")))
    steps |= set(re.findall(r'arguments = \("([a-z]+)"', text("gateway/store/token_register.py")))
    return set(re.findall(r'AuditEntry\(\s*"([a-z_.]+)"', whole)) | {f"token.{step}" for step in steps} | {REFUSED}


def test_every_action_of_the_audit_log_is_told_and_can_be_picked() -> None:
    """Seen to fail without ``store.adopt`` in ACTIONS, and without ``token.reuse`` on the page."""
    told = re.findall(r"^\| (`[a-z]+\.[a-z_]+`.*?) \|", text("docs/audit.md"), re.MULTILINE)
    assert actions() == set(ACTIONS) == {name for cell in told for name in re.findall(r"`([a-z_.]+)`", cell)}
