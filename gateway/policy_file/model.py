"""The policy file as people write it: every key, its type and its bounds. Also the source of the JSON Schema that editors complete it with.

A model judges one item by itself; what concerns several (an unknown scope, routes that can't be told apart) is judged in ``compile.py``.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from gateway.core.route import KNOWN_METHODS
from gateway.core.route_template import canonical_template
from gateway.core.scope import SCOPE_ID, parse_grant
from gateway.policy_file.fields import DurationMs, SizeBytes, Truth, Whole

_UPSTREAM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}\Z")


def scope_id(text: str) -> str:
    if not SCOPE_ID.match(text):
        raise ValueError(f"{text!r} is no scope id: small letters, digits, and inside it also . _ -, at most 64")
    return text


def method(text: str) -> str:
    upper = text.upper()
    if upper in {"CONNECT", "TRACE"}:
        raise ValueError(f"{upper} is never forwarded, so no route may take it")
    if upper not in KNOWN_METHODS:
        raise ValueError(f"{text!r} is no method that the gateway knows")
    return upper


def split_request(text: str) -> tuple[str, str]:
    """``METHOD TARGET`` in its two parts."""
    name, blank, target = text.partition(" ")
    if not blank or not target:
        raise ValueError(f"{text!r}: write METHOD and PATH with one blank between them")
    return name.upper(), target


def unmapped_entry(text: str) -> tuple[str, str]:
    """``METHOD TEMPLATE`` as the method and the canonical template."""
    name, template = split_request(text)
    return method(name), canonical_template(template)


def _one_line(text: str) -> str:
    if "\n" in text or "\t" in text or text != text.strip():
        raise ValueError("this must be one line, without blanks around it")
    return text


def _grant(text: str) -> str:
    parse_grant(text)
    return text


def _upstream(text: str) -> str:
    if not _UPSTREAM.match(text):
        raise ValueError(f"{text!r} is no name of an upstream: letters, digits, _ and -")
    return text


def _date(value: object) -> object:
    """Only 2026-03-01: pydantic by itself would also take times and Unix seconds."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise ValueError("a date is needed here, as in 2026-03-01")
    try:
        return dt.date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value} is no day of the calendar") from None


def _positive(value: int) -> int:
    if value <= 0:
        raise ValueError("this must be more than nothing")
    return value


ScopeId = Annotated[str, AfterValidator(scope_id), WithJsonSchema({"type": "string", "pattern": "^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$"})]
Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]
Template = Annotated[str, AfterValidator(canonical_template), WithJsonSchema({"type": "string", "pattern": "^/"})]
Method = Annotated[str, AfterValidator(method), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z]+(-[A-Za-z]+)?$"})]
Grant = Annotated[str, AfterValidator(_grant), WithJsonSchema({"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]*(:(view|manage))?$"})]
Upstream = Annotated[str, AfterValidator(_upstream)]
Enforcement = Literal["enforce", "report"]
PositiveMs = Annotated[DurationMs, AfterValidator(_positive)]
Date = Annotated[dt.date, BeforeValidator(_date), WithJsonSchema({"type": "string", "format": "date"})]
Entry = Annotated[str, AfterValidator(lambda text: unmapped_entry(text) and text), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z-]+ /"})]
Request = Annotated[str, AfterValidator(lambda text: split_request(text) and text), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z-]+ .+"})]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TokensModel(_Model):
    """Bounds for tokens, in days and in number."""

    default_expiry_days: Annotated[Whole, Field(ge=1, le=5000, description="days that a token lives unless its maker says otherwise")] = 30
    max_expiry_days: Annotated[Whole, Field(ge=1, le=5000, description="the most days that a token may live")] = 5000
    max_per_owner: Annotated[Whole, Field(ge=1, le=1_000_000, description="the most tokens that one owner may have at a time")] = 100

    @model_validator(mode="after")
    def _default_within_bounds(self) -> TokensModel:
        if self.default_expiry_days > self.max_expiry_days:
            raise ValueError(f"default_expiry_days ({self.default_expiry_days}) is over max_expiry_days ({self.max_expiry_days})")
        return self


class PathsModel(_Model):
    """How paths are compared."""

    ignore_case: Annotated[Truth, Field(description="literal segments match without regard to case, for upstreams that do the same")] = False


class ScopeModel(_Model):
    """A named area of the API."""

    title: Annotated[Text | None, Field(description="what people are shown; the id unless given")] = None
    resources: Annotated[list[Text], Field(description="what the scope covers, for people to read")] = []
    since: Annotated[Date | None, Field(description="tokens made before this day (UTC) do not hold the scope")] = None
    was: Annotated[list[ScopeId], Field(description="former ids; grants of them count")] = []


class RateLimitModel(_Model):
    """At most so many requests in so much time, per token."""

    requests: Annotated[Whole, Field(ge=1, le=1_000_000_000)]
    per: PositiveMs


class RouteModel(_Model):
    """A path template with methods, mapped to one scope, or public."""

    path: Annotated[Template, Field(description="literal segments, {name} for one segment, ** for the rest, last only")]
    methods: Annotated[list[Method] | None, Field(min_length=1, description="all seven common ones unless given; HEAD follows GET")] = None
    scope: Annotated[ScopeId | None, Field(description="the scope that a token must hold")] = None
    public: Annotated[Truth, Field(description="no token is asked for")] = False
    access: Annotated[Literal["view", "manage"] | None, Field(description="GET, HEAD, OPTIONS view and all else manages, unless given")] = None
    resource: Annotated[Text | None, Field(description="which of the scope's resources this is, for people to read")] = None
    upstream: Annotated[Upstream | None, Field(description="where it goes; else the configuration's default")] = None
    rate_limit: RateLimitModel | None = None
    timeout: Annotated[PositiveMs | None, Field(description="until the upstream's answer begins")] = None
    max_body: Annotated[SizeBytes | None, Field(description="the largest request body")] = None
    stream: Annotated[Truth, Field(description="an answer may pause as long as it likes")] = False
    encoded_slash: Annotated[Truth, Field(description="a path with %2F is taken")] = False
    enforcement: Annotated[Enforcement | None, Field(description="report: what is refused is only noted, and forwarded; else the policy's")] = None

    @model_validator(mode="after")
    def _is_whole(self) -> RouteModel:
        wrong = []
        if self.public and self.scope is not None:
            wrong.append("a public route has no scope: remove one of the two")
        if not self.public and self.scope is None:
            wrong.append("a route needs a scope, or public: true")
        if self.public and self.access is not None:
            wrong.append("a public route asks for no access: remove access")
        if "%2F" in self.path and not self.encoded_slash:
            wrong.append("its path holds %2F, which no request may unless the route sets encoded_slash: true")
        doubled = sorted({name for name in self.methods or [] if (self.methods or []).count(name) > 1})
        if doubled:
            wrong.append(f"methods names {', '.join(doubled)} twice")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


class TestModel(_Model):
    """A request and what the policy must say to it."""

    __test__ = False  # pytest collects what is called Test...

    request: Annotated[Request, Field(description="METHOD PATH")]
    grants: Annotated[list[Grant], Field(description="what the caller holds")] = []
    expect: Literal["allow", "scope_missing", "route_unmapped", "method_not_allowed", "path_ambiguous"]


class PolicyModel(_Model):
    """A policy of Scopegate: which requests need which scope."""

    version: Annotated[Literal["1"], WithJsonSchema({"const": 1}), Field(description="of this format")]
    tokens: TokensModel = TokensModel()
    scopes: Annotated[dict[ScopeId, ScopeModel], Field(description="the areas of the API, in the order in which people are shown them")]
    routes: Annotated[list[RouteModel], Field(description="what is mapped; all else is refused")]
    unmapped: Annotated[list[Entry], Field(description="METHOD TEMPLATE: left out on purpose")] = []
    tests: Annotated[list[TestModel], Field(description="run whenever the policy is loaded; one that fails refuses it")] = []
    paths: PathsModel = PathsModel()
    enforcement: Annotated[Enforcement, Field(description="report: what is refused is only noted, and forwarded; for all routes that don't say otherwise")] = (
        "enforce"
    )
