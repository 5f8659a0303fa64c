"""A first policy from the operations of a document: one scope an area, one rule a path for the methods that share scope and access.

Nothing is opened that the document closes. Where a policy can't tell apart what the document does, the stricter side counts: manage before view, a scope
before public; and what would let the holder of one scope reach what belongs to another is left out. Each such place has a note for a person to decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from gateway.core.route import METHODS
from gateway.core.route_table import ordered
from gateway.core.route_template import REST, is_name, segments
from gateway.openapi.areas import Areas
from gateway.openapi.operation_notes import operation_notes, told
from gateway.openapi.operations import Operation, Specification
from gateway.openapi.path_form import PathForm, path_form
from gateway.openapi.searches import reads

_SHOWN: Final = 5  # operations that one note names

Shape = tuple[str, ...]


class Placed(NamedTuple):
    """An operation, the form of its path, and the id of its area's scope."""

    operation: Operation
    form: PathForm
    scope: str


class Rule(NamedTuple):
    """One entry of the policy. ``scope`` is an id, "" where the rule is ``public`` or ``left_out``. ``notes`` are for a person to decide on."""

    template: str
    methods: tuple[str, ...]
    scope: str = ""
    view: bool = False
    public: bool = False
    left_out: bool = False
    notes: tuple[str, ...] = ()


class FirstPolicy(NamedTuple):
    """What an import makes of a document. ``areas`` maps the ids of the scopes to the tags or segments that they stand for; ``never`` are the operations
    that no request can reach through the gateway, each as it is told, with the reason.
    """

    specification: Specification
    areas: Mapping[str, str]
    rules: tuple[Rule, ...]
    never: tuple[tuple[str, str], ...]


def first_policy(specification: Specification) -> FirstPolicy:
    """The rules for all operations of a document, by scope and path; those left out come last."""
    areas = Areas(specification)
    found, never = placed(specification, areas)
    shapes = _by_shape(found)
    rules = [rule for methods in shapes.values() for rule in _rules(methods, shapes, specification)]
    rules.sort(key=lambda rule: (rule.left_out, not rule.public, rule.scope, rule.template, rule.methods))
    used = {rule.scope for rule in rules if rule.scope}
    scopes = {scope: area for area, scope in sorted(areas.ids.items(), key=lambda item: item[1]) if scope in used}
    return FirstPolicy(specification, scopes, tuple(rules), tuple(never))


def placed(specification: Specification, areas: Areas) -> tuple[list[Placed], list[tuple[str, str]]]:
    """The operations with their forms, and those that no request can reach through the gateway, each as it is told and why."""
    found: list[Placed] = []
    never: list[tuple[str, str]] = []
    for operation in specification.operations:
        form = path_form(operation.prefix + operation.path, operation.spanning)
        if operation.method not in METHODS:
            never.append((told(operation), f"{operation.method} is never forwarded"))
        elif form.template:
            found.append(Placed(operation, form, areas.ids[areas.of(operation)]))
        else:
            never.append((told(operation), form.notes[0]))
    return found, never


def shape_of(template: str) -> Shape:
    """What tells one template from another: its segments, all names alike."""
    return tuple("{}" if is_name(part) else part for part in segments(template))


_Shapes = Mapping[Shape, Mapping[str, list[Placed]]]


def _by_shape(found: list[Placed]) -> _Shapes:
    """The operations by shape and method, those of HEAD with those of GET: a rule that takes GET takes HEAD."""
    shapes: dict[Shape, dict[str, list[Placed]]] = {}
    for item in found:
        shapes.setdefault(shape_of(item.form.template), {}).setdefault(item.operation.method, []).append(item)
    for methods in shapes.values():
        if "GET" in methods and "HEAD" in methods:
            methods["GET"] += methods.pop("HEAD")
    return shapes


def _rules(methods: Mapping[str, list[Placed]], shapes: _Shapes, specification: Specification) -> Iterator[Rule]:
    """The rules of one shape: its methods by what they ask for. What is left out stands by itself, method by method."""
    template = next(iter(methods.values()))[0].form.template
    alike: dict[Rule, list[Rule]] = {}
    for method in ordered(methods):
        rule = _rule(template, method, methods[method], shapes, specification)
        alike.setdefault(rule._replace(methods=rule.methods if rule.left_out else (), notes=()), []).append(rule)
    for rule, same in alike.items():
        of_all = [note for note in same[0].notes if all(note in other.notes for other in same)]
        of_one = [f"{other.methods[0]}: {note}" for other in same for note in other.notes if note not in of_all]
        yield rule._replace(methods=tuple(method for other in same for method in other.methods), notes=(*of_all, *of_one))


def _rule(template: str, method: str, items: list[Placed], shapes: _Shapes, specification: Specification) -> Rule:
    """What one method of one shape asks for: the strictest of what its operations do, or nothing that can be granted."""
    forms = list(dict.fromkeys(note for item in items for note in item.form.notes))
    scopes = sorted({item.scope for item in items})
    paths = {item.operation.prefix + item.operation.path for item in items}
    several = [f"one rule for {_list([told(item.operation) for item in items])}, which a policy can't tell apart"] if len(paths) > 1 else []
    refusal = ""
    if all(item.form.loose for item in items):
        refusal = "left out, because the rule would take every other segment in that place too: write out the paths that there are"
    elif len(scopes) > 1:
        refusal = f"left out, because it belongs to {_list(scopes)}: choose one, whose tokens then reach all of it"
    elif captured := _captured(shape_of(template), method, items, shapes):
        refusal = f"left out, because the rule would take paths of {told(captured.operation)}, which belongs to {captured.scope}"
    if refusal:
        return Rule(template, (method,), left_out=True, notes=(*several, *forms, f"{refusal} (scope {scopes[0]})" if len(scopes) == 1 else refusal))
    public = all(item.operation.security.kind == "none" for item in items)
    view = not public and all(map(reads, (item.operation for item in items)))
    own = [note for item in items for note in operation_notes(item.operation, specification, public=public, view=view)]
    slash = ["a path with %2F: check that the upstream takes it for one segment"] if "%2F" in template else []
    return Rule(template, (method,), "" if public else scopes[0], view, public, notes=tuple(dict.fromkeys((*several, *forms, *slash, *own))))


def _captured(shape: Shape, method: str, items: list[Placed], shapes: _Shapes) -> Placed | None:
    """An operation of another scope whose paths a rule of this shape would take though the document's template does not.

    Only forms that are wider than what they stand for can do so: of other templates the document itself says that the more specific one counts.
    ``**`` is wider by one path, the one that ends before it.
    """
    before = shape if any(item.form.wider for item in items) else shape[:-1] if shape[-1:] == (REST,) else None
    if before is None:
        return None
    alike = ("GET", "HEAD") if method in {"GET", "HEAD"} else (method,)  # a rule that takes GET takes HEAD
    own = {item.scope for item in items} if any(item.operation.security.kind != "none" for item in items) else set()
    for other, methods in shapes.items():
        if other != shape and _comes_before(before, other):
            for item in (item for each in alike for item in methods.get(each, ())):
                if item.scope not in own and (item.operation.security.kind != "none" or own):
                    return item
    return None


def _comes_before(shape: Shape, other: Shape) -> bool:
    """Whether both take some path, and this one is the more specific: a literal before a name before ``**``, from the left."""
    for mine, theirs in zip(shape, other, strict=False):
        if mine == theirs:
            continue
        if REST in {mine, theirs}:
            return theirs == REST and _crosses(shape, other)
        if "{}" not in {mine, theirs}:
            return False
        return theirs == "{}" and _crosses(shape, other)
    return len(other) == len(shape) + 1 and other[-1] == REST


def _crosses(shape: Shape, other: Shape) -> bool:
    for mine, theirs in zip(shape, other, strict=False):
        if REST in {mine, theirs}:
            return True
        if mine != theirs and "{}" not in {mine, theirs}:
            return False
    return len(shape) == len(other) or (max(shape, other, key=len)[-1] == REST and abs(len(shape) - len(other)) == 1)


def _list(names: list[str]) -> str:
    names = list(dict.fromkeys(names))
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
