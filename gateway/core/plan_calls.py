"""Which calls of an access log a change of policy would decide otherwise.

Both policies are asked about the recorded method and path. What the caller held is known from its token's record, whose grants never change. Without one the
line itself says something: a call that passed held what the old policy asks for, one refused with scope_missing did not. Where that does not settle it, the
call is counted as open, never guessed. A line without a token id is of a public route, where nobody looked for a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from gateway.core.authorize import check_grant, find_route
from gateway.core.decision import Denial
from gateway.core.own_routes import DEFAULT_PREFIX, is_own
from gateway.core.path import canonicalise
from gateway.core.plan import PUBLIC, REFUSED, REPORTED, WEBSOCKET, Ask, ask_of
from gateway.core.policy import Policy
from gateway.core.route import Route
from gateway.core.scope import GrantSet

ALLOW: Final = "allow"
CUT: Final = 1025  # characters of a path that the access log has cut, with the mark of it
WITHOUT_PATH: Final = "without a path: its token was not proved and its route is not public"
CUT_SHORT: Final = "with a path that was cut: it was too long for the log"
OWN: Final = "the gateway answered it itself"
NO_PATH: Final = "with a path that no log of the gateway holds"
_MARK: Final = "…"
_BY_POLICY: Final = frozenset({"scope_missing", "route_unmapped", "method_not_allowed", "path_ambiguous"})
_SWITCHED: Final = 101
_OPEN: Final = ""

Holdings = Mapping[str, tuple[GrantSet, int]]  # by token id: the grants, and when the token was made (Unix milliseconds)


class RecordedCall(msgspec.Struct, gc=False):
    """What a line of the access log says of a call, as far as it concerns the policy."""

    method: str
    status: int
    request_id: str = ""
    path: str = ""
    code: str = ""
    token_id: str = ""
    reported: str = ""


class CallChange(NamedTuple):
    """Calls that would be decided otherwise. ``old`` and ``new`` are "allow" or the code of the refusal; ``route`` is the template that took the call in the
    old policy, else in the new one, "" if neither has one."""

    method: str
    route: str
    old: str
    new: str


class CallEffects:
    """Takes calls one after the other and counts. ``holdings`` is what is known of tokens, ``own_prefix`` where the gateway answers itself ("" for nowhere).

    ``same`` and ``open`` (it depends on what the token holds, which is not known) count calls; ``otherwise`` those of which the old policy itself says
    something else than was recorded; ``losses`` and ``gains`` the changed ones of tokens, not of public routes. ``skipped`` are lines that can't be judged:
    by what is wrong with them, how many and the number of the first.
    """

    def __init__(self, old: Policy, new: Policy, holdings: Holdings, own_prefix: str = DEFAULT_PREFIX) -> None:
        self.same = self.open = self.otherwise = self.losses = self.gains = 0
        self.skipped: dict[str, tuple[int, int]] = {}
        self.changed: dict[CallChange, tuple[int, str]] = {}  # how many, and the request id of the first
        self._old = old
        self._new = new
        self._holdings = holdings
        self._own_prefix = own_prefix

    def skip(self, line: int, why: str) -> None:
        """Count a line that can't be judged."""
        count, first = self.skipped.get(why, (0, line))
        self.skipped[why] = (count + 1, first)

    def add(self, line: int, call: RecordedCall) -> None:
        """Judge one call; ``line`` is its number in the log."""
        if not call.path:
            self.skip(line, WITHOUT_PATH)
            return
        if len(call.path) >= CUT and call.path.endswith(_MARK):
            self.skip(line, CUT_SHORT)
            return
        # What looked like a token was cut short within its segment; the rest still is a segment that no literal equals.
        path = canonicalise(call.path.replace(_MARK, ""))
        if isinstance(path, Denial):
            self.skip(line, NO_PATH)
            return
        if is_own(self._own_prefix, path.path):
            self.skip(line, OWN)
            return
        found = [find_route(policy, path, call.method) for policy in (self._old, self._new)]
        old, new = self._verdicts(call, *found)
        said = call.reported or call.code
        recorded = said if said in _BY_POLICY else ALLOW
        self.otherwise += old not in {_OPEN, recorded}
        if _OPEN in {old, new}:
            self.open += 1
        elif old == new:
            self.same += 1
        else:
            route = next((rule.template for rule in (_rule(each) for each in found) if rule), "")
            change = CallChange(call.method, route, old, new)
            count, first = self.changed.get(change, (0, call.request_id))
            self.changed[change] = (count + 1, first)
            if call.token_id:
                self.losses += old == ALLOW
                self.gains += new == ALLOW

    def _verdicts(self, call: RecordedCall, old: Route | Denial, new: Route | Denial) -> tuple[str, str]:
        method = WEBSOCKET if call.status == _SWITCHED else call.method
        if not call.token_id:
            asks = (ask_of(old, method, self._old), ask_of(new, method, self._new))
            return tuple(ALLOW if ask in {PUBLIC, REPORTED} else "token_missing" for ask in asks)  # type: ignore[return-value]
        held = self._holdings.get(call.token_id)
        if held is not None:
            return _verdict(old, self._old, *held, method), _verdict(new, self._new, *held, method)
        return _inferred(call.reported or call.code, old, new, ask_of(old, method, self._old), ask_of(new, method, self._new))


def _rule(found: Route | Denial) -> Route | None:
    return found if isinstance(found, Route) else found.route


def _verdict(found: Route | Denial, policy: Policy, grants: GrantSet, created_ms: int, method: str) -> str:
    if ask_of(found, method, policy) == REPORTED:
        return ALLOW
    if isinstance(found, Denial):
        return found.reason.code
    websocket = method == WEBSOCKET
    refusal = check_grant(found, grants, created_ms, "GET" if websocket else method, websocket=websocket)
    return refusal.reason.code if refusal else ALLOW


def _inferred(code: str, old: Route | Denial, new: Route | Denial, asked: Ask, asks: Ask) -> tuple[str, str]:
    """The verdicts as far as the line itself tells them."""
    before, after = _settled(old, asked), _settled(new, asks)
    if before == _OPEN and code not in _BY_POLICY:
        before = ALLOW
        if after == _OPEN and asked.ids <= asks.ids and asked.level >= asks.level and asked.since_ms >= asks.since_ms:
            after = ALLOW
    elif before == _OPEN and code == "scope_missing":
        before = code
        if after == _OPEN and asked.ids >= asks.ids and asked.level <= asks.level and asked.since_ms <= asks.since_ms:
            after = code
    return before, after


def _settled(found: Route | Denial, ask: Ask) -> str:
    """The verdict where it is the same for every token."""
    if ask == REFUSED:
        return found.reason.code if isinstance(found, Denial) else "route_unmapped"
    return _OPEN if ask.kind == "scope" else ALLOW
