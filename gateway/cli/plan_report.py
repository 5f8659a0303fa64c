"""A plan in text for people, and as one JSON object."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from rich.console import Console

from gateway.cli.output import printable
from gateway.core.plan import Change, Plan, Rule, RuleChange, Setting, in_words, scope_in_words
from gateway.core.plan_calls import CallEffects
from gateway.core.plan_tokens import Claim, Group, TokenEffects
from gateway.core.policy import Policy
from gateway.core.route import Route
from gateway.core.scope import Scope

_SHOWN_TOKENS: Final = 5  # of a group, in text
_SHOWN_CHANGES: Final = 12
_SHOWN_GROUPS: Final = 20
_DAY_MS: Final = 86_400_000
_STYLES: Final = {"+": "green", "-": "red", "~": "yellow"}


def plan_facts(old: Policy, new: Policy, plan: Plan, tokens: TokenEffects | None, calls: CallEffects | None) -> dict[str, Any]:
    """The plan as one JSON object; ``tokens`` and ``access_log`` are null where they were not asked for."""
    return {
        "old": {"file": printable(old.name), "hash": old.hash},
        "new": {"file": printable(new.name), "hash": new.hash},
        "empty": plan.is_empty,
        "routes": {
            "added": [_rule_facts(rule) for rule in plan.rules if rule.old is None],
            "removed": [_rule_facts(rule) for rule in plan.rules if rule.new is None],
            "changed": [_rule_facts(rule) for rule in plan.rules if rule.old and rule.new],
        },
        "scopes": {
            "added": [_scope_facts(now) for was, now in plan.scopes if was is None and now],
            "removed": [_scope_facts(was) for was, now in plan.scopes if was and now is None],
            "changed": [{"id": now.id, "old": _scope_facts(was), "new": _scope_facts(now)} for was, now in plan.scopes if was and now],
        },
        "settings": _setting_facts(plan.settings),
        "requests": [_change_facts(change) for change in plan.changes],
        "warnings": warnings(tokens),
        "tokens": _token_facts(tokens) if tokens else None,
        "access_log": _call_facts(calls) if calls else None,
    }


def print_plan(old: Policy, new: Policy, plan: Plan, tokens: TokenEffects | None, calls: CallEffects | None, refused: Sequence[str]) -> None:
    """The plan for people: what differs, in requests, for tokens, in the log; and what that means for the exit code."""
    say = _Printer()
    say(f"{old.name} -> {new.name}", "bold")
    if plan.is_empty:
        say("The two policies say the same.", "green")
    say.section("Routes", [_rule_line(old, new, rule) for rule in plan.rules])
    say.section("Scopes", [_scope_line(was, now, new, tokens) for was, now in plan.scopes])
    say.section("Settings", [f"~ {_setting_words([setting])}" for setting in plan.settings])
    say.section("Requests decided otherwise", [f"~ {line}" for line in _change_lines(plan.changes, settings=True)])
    for warning in warnings(tokens):
        say(f"warning: {warning}", "yellow")
    if tokens:
        say.section(f"Tokens: {tokens.living} living, {tokens.ended} ended", list(_token_lines(tokens)))
    else:
        say("Tokens: not looked at: --store says what each gains and loses")
    if calls:
        say.section("Access log", list(_call_lines(calls)))
    for word in refused:
        say(f"exit 1: {'an existing token would lose access' if word == 'loss' else 'an existing token would gain access'}: --allow-{word} accepts it", "red")


def warnings(tokens: TokenEffects | None) -> list[str]:
    """What nobody may have meant: scope ids that old tokens still list."""
    return [_claim_words(claim) for claim in tokens.claims()] if tokens else []


class _Printer:
    def __init__(self) -> None:
        self._console = Console(highlight=False)

    def __call__(self, line: str, style: str = "") -> None:
        self._console.print(printable(line), style=style, markup=False, emoji=False, soft_wrap=True)

    def section(self, title: str, lines: Sequence[str]) -> None:
        if lines:
            self(title, "bold")
        for line in lines:
            self(f"  {line}", _STYLES.get(line[:1], ""))


def _rule_line(old: Policy, new: Policy, rule: RuleChange) -> str:
    called = f"{', '.join(rule.methods)} {rule.template}"
    if rule.old is None or rule.new is None:
        policy, route, sign = (new, rule.new, "+") if rule.new else (old, rule.old, "-")
        return f"{sign} {called}: {in_words(route)}, {policy.name}:{route.line}" if route else ""
    words = [in_words(rule.old), in_words(rule.new)]
    told = [" -> ".join(words)] if words[0] != words[1] else []
    if not told and not rule.settings:
        told = [f"{words[0]}, whose scope changed"]
    return f"~ {called}: {'; '.join([*told, *([_setting_words(rule.settings)] if rule.settings else [])])}, {new.name}:{rule.new.line}"


def _scope_line(was: Scope | None, now: Scope | None, new: Policy, tokens: TokenEffects | None) -> str:
    if was and now:
        return f"~ {now.id}: {scope_in_words(was) or 'for all tokens that list it'} -> {scope_in_words(now) or 'for all tokens that list it'}"
    if now:
        told = f" ({scope_in_words(now)})" if now.since_ms or now.was else ""
        frozen = f"tokens with full access do not get it, they are frozen{f' ({tokens.full} living)' if tokens else ''}"
        return f"+ {now.id}{told}: {frozen}"
    gone = was.id if was else ""
    heir = next((scope.id for scope in new.scopes.values() if gone in scope.was), None)
    if heir:
        return f"- {gone}: its grants count as {heir}"
    listed = f"; living tokens that list it: {tokens.dormant[gone]}" if tokens and gone in tokens.dormant else ""
    return f"- {gone}{listed}"


def _change_lines(changes: Iterable[Change], *, settings: bool) -> Iterator[str]:
    for change in changes:
        only = f" {change.only}" if change.only else ""
        shown = [_asked_words(change)] if change.access_differs else [str(change.old.ask)]
        if settings and change.settings:
            shown.append(_setting_words(change.settings))
        yield f"{', '.join(change.methods)} {change.shape}{only}: {'; '.join(shown)}"


def _asked_words(change: Change) -> str:
    """What was asked and what is; where only the scope's identity differs, that too."""
    old, new = change.old, change.new
    if str(old.ask) != str(new.ask):
        return f"{old.ask} -> {new.ask}"
    return f"{old.ask} ({_identity(old)}) -> {new.ask} ({_identity(new)})"


def _identity(rule: Rule) -> str:
    return (scope_in_words(rule.route.scope) if rule.route and rule.route.scope else "") or "for all tokens that list it"


def _setting_words(settings: Iterable[Setting]) -> str:
    return "; ".join(f"{setting.name} {setting.old or 'unset'} -> {setting.new or 'unset'}" for setting in settings)


def _token_lines(tokens: TokenEffects) -> Iterator[str]:
    groups = tokens.groups()
    for group in groups[:_SHOWN_GROUPS]:
        yield from _group_lines(group)
    rest = groups[_SHOWN_GROUPS:]
    if rest:
        yield f"{len(rest)} smaller groups of {sum(len(group.tokens) for group in rest)} tokens more, all with --json"
    yield f"{tokens.losing} lose access, {tokens.gaining} gain access"


def _group_lines(group: Group) -> Iterator[str]:
    shown = [f"{token.id} {token.name!r} of {token.owner}" for token in group.tokens[:_SHOWN_TOKENS]]
    more = len(group.tokens) - len(shown)
    yield f"{len(group.tokens)} {'token' if len(group.tokens) == 1 else 'tokens'}: {', '.join(shown)}{f' and {more} more' if more else ''}"
    for sign, word, changes in (("-", "loses", group.losses), ("+", "gains", group.gains)):
        for line in _change_lines(changes[:_SHOWN_CHANGES], settings=False):
            yield f"  {sign} {word} {line}"
        if len(changes) > _SHOWN_CHANGES:
            yield f"  {sign} {word} {len(changes) - _SHOWN_CHANGES} more, all with --json"


def _call_lines(calls: CallEffects) -> Iterator[str]:
    changed = sum(count for count, _ in calls.changed.values())
    still = f"{calls.same} the same, {calls.open} open (what their token holds is not known)"
    yield f"calls judged {calls.same + calls.open + changed}: {changed} decided otherwise, {still}"
    for change, (count, example) in sorted(calls.changed.items(), key=lambda item: -item[1][0]):
        yield f"~ {count} {change.method} {change.route or 'no rule'}: {change.old} -> {change.new}, first {example or 'without a request id'}"
    if calls.otherwise:
        yield f"{calls.otherwise} calls were recorded with another verdict than the old policy gives: another policy was in force then"
    for why, (count, line) in calls.skipped.items():
        yield f"{count} {'line' if count == 1 else 'lines'} not judged, {why}; the first is line {line}"


def _claim_words(claim: Claim) -> str:
    day = (dt.datetime.fromtimestamp(claim.newest_ms // 1000, dt.UTC) + dt.timedelta(milliseconds=_DAY_MS)).date()
    many = f"{claim.tokens} living {'token lists' if claim.tokens == 1 else 'tokens list'} it"
    if claim.id == claim.scope:
        return f"scope id {claim.id!r} comes back, and {many} from before: they would get access that nobody gave them; set since: {day} or later"
    taken = f"scope {claim.scope!r} takes over grants of {claim.id!r} (was), which mean nothing in the old policy, and {many}"
    return f"{taken}: take it out, or set since: {day} or later"


def _route_facts(route: Route | None) -> dict[str, Any] | None:
    return {"route": route.template, "line": route.line, "asks": in_words(route)} if route else None


def _rule_facts(rule: RuleChange) -> dict[str, Any]:
    return {
        "methods": list(rule.methods),
        "route": rule.template,
        "old": _route_facts(rule.old),
        "new": _route_facts(rule.new),
        "settings": _setting_facts(rule.settings),
    }


def _scope_facts(scope: Scope) -> dict[str, Any]:
    since = dt.datetime.fromtimestamp(scope.since_ms // 1000, dt.UTC).date().isoformat() if scope.since_ms else None
    return {"id": scope.id, "since": since, "was": list(scope.was)}


def _setting_facts(settings: Iterable[Setting]) -> list[dict[str, Any]]:
    return [{"name": setting.name, "old": setting.old or None, "new": setting.new or None} for setting in settings]


def _side_facts(rule: Rule) -> dict[str, Any]:
    route = rule.route
    return {"route": route.template if route else None, "line": route.line if route else None, "asks": str(rule.ask)}


def _change_facts(change: Change) -> dict[str, Any]:
    return {
        "methods": list(change.methods),
        "path": change.shape,
        "only": change.only or None,
        "example": change.example,
        "old": _side_facts(change.old),
        "new": _side_facts(change.new),
        "settings": _setting_facts(change.settings),
    }


def _short_facts(change: Change) -> dict[str, Any]:
    return {"methods": list(change.methods), "path": change.shape, "only": change.only or None, "old": str(change.old.ask), "new": str(change.new.ask)}


def _token_facts(tokens: TokenEffects) -> dict[str, Any]:
    return {
        "living": tokens.living,
        "ended": tokens.ended,
        "full_access": tokens.full,
        "losing": tokens.losing,
        "gaining": tokens.gaining,
        "groups": [
            {
                "loses": [_short_facts(change) for change in group.losses],
                "gains": [_short_facts(change) for change in group.gains],
                "tokens": [token._asdict() for token in group.tokens],
            }
            for group in tokens.groups()
        ],
        "listing_removed_scopes": tokens.dormant,
    }


def _call_facts(calls: CallEffects) -> dict[str, Any]:
    return {
        "changed": [
            {"method": change.method, "route": change.route or None, "old": change.old, "new": change.new, "calls": count, "example": example or None}
            for change, (count, example) in calls.changed.items()
        ],
        "same": calls.same,
        "open": calls.open,
        "recorded_otherwise": calls.otherwise,
        "not_judged": [{"why": why, "lines": count, "first_line": line} for why, (count, line) in calls.skipped.items()],
    }
