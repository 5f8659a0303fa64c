"""Who may come in, and what goes out: every request to the management port passes here, and every failure leaves here as a problem document.

The port answers only to a Host that is its own address, localhost or a configured name: a page that has its own name resolve to this machine
(DNS rebinding) gets nothing. Calls under ``/api/`` need a caller who proves who it is; the audit log is told of those that are
refused. Nothing of a request, and no exception's text, reaches a log.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from ipaddress import IPv6Address, ip_address
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from gateway.core.audit import AuditEntry
from gateway.core.client_address import Network, client_address, parse_address
from gateway.core.decision import Denial
from gateway.core.forwarding import safe_request_id, valid_host
from gateway.core.path import canonicalise
from gateway.core.principal import NOBODY, Actor
from gateway.flow.audit_backlog import REFUSED
from gateway.flow.issuance import IssuanceRefused
from gateway.management.callers import Callers
from gateway.management.problem import MANAGEMENT_REASONS, FieldFault, Problem
from gateway.observe.metrics import Counters
from gateway.ports import StoreUnavailable

_LOG: Final = logging.getLogger("scopegate.management")
DESCRIPTION: Final = "/api/v1/openapi.json"  # the one path below /api/ that is open: tools read it without a key
ACTOR: Final = web.RequestKey("actor", Actor)
ProblemPage = Callable[[web.Request, Problem, str], web.StreamResponse | None]  # a refusal for browsers; None: this one is asked by a program
PROBLEM_PAGE: Final[web.AppKey[ProblemPage]] = web.AppKey("problem_page")
_EVERY_ANSWER: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Server": "scopegate",
}
_LONGEST_METHOD: Final = 20
_STATUSES: Final = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 417: "expectation_failed"}


class Guard:
    """The middleware of the management application. ``hosts`` are names that it answers to besides its address and localhost, ``trusted_proxies`` those
    whose X-Forwarded-For says where a call comes from; ``refused`` takes an entry of the audit log for each refused call."""

    def __init__(
        self,
        callers: Callers,
        hosts: Collection[str],
        counters: Counters,
        *,
        trusted_proxies: Sequence[Network] = (),
        refused: Callable[[AuditEntry], None] = lambda _: None,
    ) -> None:
        self._callers = callers
        self._hosts: Final = frozenset({"localhost", *(host.lower() for host in hosts)})
        self._counters: Final = counters
        self._trusted = trusted_proxies
        self._refused = refused

    def middleware(self) -> Middleware:
        """For ``web.Application(middlewares=…)``."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._serve(request, handler)

        return guard

    async def _serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        request_id = request_id_of(request)
        route = code = ""
        request[ACTOR] = Actor(NOBODY.principal, self._address(request), request_id)
        try:
            await self._admit(request)
            resource = request.match_info.route.resource
            route = resource.canonical if resource is not None else ""
            response = await handler(request)
        except web.HTTPSeeOther as elsewhere:
            response = web.Response(status=303, headers={"Location": elsewhere.headers["Location"]})
        except Exception as error:  # noqa: BLE001  the one place where a failure becomes an answer
            problem = as_problem(error)
            code = problem.reason.code
            page = request.app.get(PROBLEM_PAGE)
            response = (page and page(request, problem, request_id)) or problem.response(request_id)
            if _is_refused(problem, error):
                self._refused(_refusal(request, problem))
        self._counters.management[route, request.method, response.status, code] += 1
        return finish(response, request_id)

    async def _admit(self, request: web.Request) -> None:
        """Problem for a target in another than its canonical form, a foreign Host, or, below /api/ but for its description, a caller who proves to
        be nobody."""
        path = canonicalise(request.raw_path)
        if isinstance(path, Denial):
            raise Problem("path_ambiguous", path.detail)
        if path.path != request.raw_path.partition("?")[0]:
            raise Problem("path_ambiguous", "The path holds a percent code that it does not need.")
        self._check_host(request)
        if path.path.startswith("/api/") and path.path != DESCRIPTION:
            request[ACTOR] = replace(request[ACTOR], principal=await self._callers.caller(request))

    def _address(self, request: web.Request) -> str:
        """Whose call it is, "" where the peer has no address."""
        peer = parse_address(request.remote or "")
        if peer is None:
            return ""
        told = [value.encode("utf-8", "surrogateescape") for value in request.headers.getall("X-Forwarded-For", [])]
        return str(client_address(peer, told, self._trusted))

    def _check_host(self, request: web.Request) -> None:
        values = request.headers.getall(hdrs.HOST, [])
        if len(values) != 1 or not valid_host(values[0].encode("utf-8", "surrogateescape")):
            raise Problem("request_invalid", "Send one Host field with a host name or address.")
        host = values[0].lower()
        name = host[1 : host.index("]")] if host.startswith("[") else host.partition(":")[0]
        if name not in self._hosts and _plain(name) != _own_address(request):
            raise Problem("host_unknown", "Use the port's own address, localhost, or a name listed in admin.hosts.")


def _is_refused(problem: Problem, error: Exception) -> bool:
    """Whether the audit log is told: of all that is the caller's doing, but for what is no call of this port at all. A token that is not there for the caller
    is one."""
    status = problem.reason.status
    return 400 <= status < 500 and status != 405 and (status != 404 or isinstance(error, IssuanceRefused))


def _refusal(request: web.Request, problem: Problem) -> AuditEntry:
    """What the audit log is told of a refused call: of its path only the pattern, since a path may hold a sign-in link's code."""
    resource = request.match_info.route.resource
    details: dict[str, str | int] = {
        "method": request.method[:_LONGEST_METHOD],
        "route": resource.canonical if resource is not None else "",
        "status": problem.reason.status,
        "code": problem.reason.code,
    }
    return AuditEntry(REFUSED, request[ACTOR], request.match_info.get("id", ""), details=details)


def as_problem(error: Exception) -> Problem:
    """What a caller is told of a failure. Only the type of an unexpected one is logged: its text may quote the request."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, IssuanceRefused) and error.code in MANAGEMENT_REASONS:
        return Problem(error.code, error.message, fields=[FieldFault(*pair) for pair in error.fields.items()])
    if isinstance(error, StoreUnavailable):
        after = "The change may have been made all the same: look before you try again." if error.written else "Nothing was changed. Try again."
        return Problem("store_unavailable", f"The token store does not answer. {after}")
    if isinstance(error, web.HTTPException):
        code = _STATUSES.get(error.status, "request_invalid")
        allow = sorted(error.allowed_methods) if isinstance(error, web.HTTPMethodNotAllowed) else ()
        return Problem(code, _HTTP_DETAILS.get(code, "The request can't be answered."), allow=allow)
    _LOG.error("a request to the management port failed: %s", type(error).__name__)
    return Problem("internal_error", "The gateway failed to answer. Its log has a line of it.")


_HTTP_DETAILS: Final = {
    "not_found": "This path is none of the management port's.",
    "method_not_allowed": "The path does not take this method; Allow names those that it takes.",
    "body_too_large": "The body is too large.",
    "expectation_failed": "The only expectation taken is 100-continue.",
}


def request_id_of(request: web.BaseRequest) -> str:
    """The caller's request id if it has a safe shape, else a new one."""
    sent = request.headers.getall("X-Request-Id", []) if request.headers else []
    if len(sent) == 1 and safe_request_id(sent[0].encode("utf-8", "surrogateescape")):
        return sent[0]
    return secrets.token_hex(16)


def finish(response: web.StreamResponse, request_id: str) -> web.StreamResponse:
    """Put on what every answer carries."""
    for name, value in _EVERY_ANSWER.items():
        response.headers.setdefault(name, value)
    response.headers["X-Request-Id"] = request_id
    return response


def _own_address(request: web.Request) -> str:
    """The address at which this connection arrived, "" (which is no Host) where it is no network's."""
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return _plain(name[0]) if isinstance(name, tuple) else ""


def _plain(text: str) -> str:
    """One spelling of an address; an IPv4-mapped one is IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return text
    return str(address.ipv4_mapped or address) if isinstance(address, IPv6Address) else str(address)
