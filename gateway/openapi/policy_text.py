"""A first policy as the YAML that people read and change: comments where somebody must decide, and tests that hold as it is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Final

from gateway.core.route_template import REST, is_name, segments
from gateway.openapi.first_policy import FirstPolicy, Rule
from gateway.openapi.operation_notes import document_notes
from gateway.policy_file.document import MAX_BYTES, DocumentFault, Fault
from gateway.policy_file.load import parse_policy
from gateway.policy_file.yaml_text import comment, quoted, scalar

_LONGEST_TITLE: Final = 200


def policy_text(policy: FirstPolicy) -> str:
    """The file. It loads, and passes its own tests: DocumentFault where the document is too large for one policy."""
    text = "\n".join(_lines(policy)) + "\n"
    name = policy.specification.name
    size = len(text.encode())
    if size > MAX_BYTES:
        why = f"its policy would have {len(policy.rules):,} rules and {size / 1024**2:.1f} MiB, and a policy has at most {MAX_BYTES // 1024**2}"
        raise DocumentFault([Fault(name, 0, 0, f"{why}: split the document by its paths")])
    parse_policy(text, f"the policy of {name}")
    return text


def decisions(policy: FirstPolicy) -> int:
    """How many places of the policy a person must look at."""
    return sum(len(rule.notes) for rule in policy.rules) + sum(1 for _ in document_notes(policy.specification))


def title_of(area: str) -> str:
    """What people are shown as the title of an area's scope."""
    return area[:_LONGEST_TITLE].strip()


def _lines(policy: FirstPolicy) -> Iterator[str]:
    yield from _head(policy)
    yield "version: 1"
    yield ""
    yield "scopes:" if policy.areas else "scopes: {}"
    for scope, area in policy.areas.items():
        description = policy.specification.tags.get(area)
        if description:
            yield f"  {comment(description)}"
        yield f"  {scalar(scope)}: {{title: {scalar(title_of(area))}}}"
    yield ""
    mapped = [rule for rule in policy.rules if not rule.left_out]
    yield "routes:" if mapped else "routes: []"
    section = None
    for rule in mapped:
        if rule.scope != section:
            if section is not None:
                yield ""
            section = rule.scope
            yield f"  {comment(title_of(policy.areas[section]) if section else 'Public')}"
        yield from _notes(rule)
        yield f"  - {{{', '.join(_entry(rule))}}}"
    left_out = [rule for rule in policy.rules if rule.left_out]
    if left_out:
        yield ""
        yield "unmapped:"
        for rule in left_out:
            yield from _notes(rule)
            yield f"  - {quoted(f'{rule.methods[0]} {rule.template}')}"
    if policy.never:
        yield ""
        yield "# Not here, because no such request gets through the gateway:"
        for told, why in policy.never:
            yield comment(f"{told}: {why}")
    tests = list(_tests(policy))
    if tests:
        yield ""
        yield "tests:"
        yield from tests


def _head(policy: FirstPolicy) -> Iterator[str]:
    found = policy.specification
    what = " ".join(part for part in (found.title or "an API without a title", found.edition) if part)
    yield comment(f"A first policy for {what}, made from {PurePath(found.name).name} (OpenAPI {found.version}): {len(found.operations):,} operations.")
    yield "# One scope for each tag, or for the first word of the path where there are none. GET, HEAD and OPTIONS ask for view, all else for manage."
    count = decisions(policy)
    said = f'{count} {"line says" if count == 1 else "lines say"} "decide": look at each, then remove it.' if count else "Read it before you use it."
    yield f"# What is not mapped is refused. {said}"
    for note in document_notes(found):
        yield comment(f"decide: {note}")


def _notes(rule: Rule) -> Iterator[str]:
    for note in rule.notes:
        yield f"  {comment(f'decide: {note}')}"


def _entry(rule: Rule) -> Iterator[str]:
    yield f"path: {scalar(rule.template)}"
    yield f"methods: [{', '.join(rule.methods)}]"
    if rule.public:
        yield "public: true"
    else:
        yield f"scope: {scalar(rule.scope)}"
    if rule.view:
        yield "access: view"
    if "%2F" in rule.template:
        yield "encoded_slash: true"


def _tests(policy: FirstPolicy) -> Iterator[str]:
    """For each scope a request that it opens and that another one does not; for the first public route one without a token."""
    literals = {part for rule in policy.rules for part in segments(rule.template)}
    fresh = "1"
    while fresh in literals:
        fresh += "1"
    scopes = list(policy.areas)
    for number, scope in enumerate(scopes):
        rule = next((rule for rule in policy.rules if rule.scope == scope and _is_plain(rule)), None)
        if rule:
            request = quoted(f"{rule.methods[0]} {_path(rule, fresh)}")
            grant = scope if rule.methods[0] not in {"GET", "HEAD", "OPTIONS"} and not rule.view else f"{scope}:view"
            other = f"grants: [{quoted(scopes[(number + 1) % len(scopes)])}], " if len(scopes) > 1 else ""
            yield f"  - {{request: {request}, grants: [{quoted(grant)}], expect: allow}}"
            yield f"  - {{request: {request}, {other}expect: scope_missing}}"
    for rule in policy.rules:
        if rule.public and _is_plain(rule):
            yield f"  - {{request: {quoted(f'{rule.methods[0]} {_path(rule, fresh)}')}, expect: allow}}"
            break


def _is_plain(rule: Rule) -> bool:
    """Whether a path made from the template is sure to meet this rule: ``**`` also takes what others take, and %2F has rules of its own."""
    return not rule.template.endswith(REST) and "%2F" not in rule.template


def _path(rule: Rule, fresh: str) -> str:
    return "/" + "/".join(fresh if is_name(part) else part for part in segments(rule.template))
