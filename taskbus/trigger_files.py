"""Triggers as declarative files, YAML or JSON: the members of the API, or those of a ``worker-kv`` input.

Members are written as the API has them (``randomOffset``) or with hyphens (``random-offset``).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from schemas.triggers import CreateTriggerRequest

_AS_IT_IS: Final = frozenset({"task", "payloadSchema"})
"""Members whose contents are the user's own."""
_OPERATIONS: Final = ("get", "pop-batch", "iterate")
_WORKER_KV: Final = ("namespace", "operation", "trigger", "value-format", "retry")

Json = dict[str, Any]


@dataclass(frozen=True)
class DeclaredTrigger:
    """A trigger of a file."""

    group: str
    trigger_id: str
    definition: CreateTriggerRequest


def read_triggers(file: Path) -> list[DeclaredTrigger]:
    """The triggers of a file, each an object of its own: a list of them, or YAML documents.

    Raises ValueError that names the file, the trigger and the place of what is wrong.
    """
    import yaml  # of this call alone: no other needs it

    try:
        documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: neither YAML nor JSON: {error}") from None
    entries = list(_entries(documents))
    if not entries:
        raise ValueError(f"{file}: expected at least one trigger")
    return [_declared(f"{file}: trigger {number}", entry) for number, entry in enumerate(entries, 1)]


def _entries(documents: Iterable[Any]) -> Iterator[Any]:
    for document in documents:
        if isinstance(document, list):
            yield from document
        elif document is not None:
            yield document


def _declared(place: str, entry: Any) -> DeclaredTrigger:
    if not isinstance(entry, dict):
        raise ValueError(f"{place}: expected an object")
    members = dict(entry)
    name = members.pop("name", None)
    group, _, trigger_id = name.partition("/") if isinstance(name, str) else ("", "", "")
    if not group or not trigger_id:
        raise ValueError(f"{place}: name: expected <group>/<id>, got {name!r}")
    if "worker-kv" in members:
        members |= _of_worker_kv(f"{place}: worker-kv", members.pop("worker-kv"), members)
    try:
        definition = CreateTriggerRequest.model_validate(_camel(members))
    except ValidationError as error:
        raise ValueError(f"{place}: {_described(error, members)}") from None
    return DeclaredTrigger(group, trigger_id, definition)


def _of_worker_kv(place: str, given: Any, beside: Mapping[str, Any]) -> Json:
    """The members of a trigger that stand for an input of this form (``seed-systems.md`` D.1)."""
    values = _object(place, given, _WORKER_KV)
    operation = _object(f"{place}.operation", values.get("operation"), _OPERATIONS)
    if len(operation) != 1:
        raise ValueError(f"{place}.operation: expected exactly one of {', '.join(_OPERATIONS)}")
    ((kind, details),) = operation.items()
    trigger = values.get("trigger", {})
    members = dict(_object(f"{place}.trigger", trigger, ("interval", "cron", "message")))
    if taken := members.keys() & beside.keys():
        raise ValueError(f"{place}.trigger.{min(taken)}: it is there beside worker-kv, too")
    if "retry" in values:
        members["retry"] = values["retry"]
    namespace = {} if "namespace" not in values else {"namespace": values["namespace"]}
    if kind == "pop-batch":
        if values.get("value-format", "json") != "json":
            raise ValueError(f"{place}.value-format: payloads of members are json")
        return {**members, "pop-batch": {**namespace, **_object(f"{place}.operation.{kind}", details)}}
    if not members.keys() & {"interval", "cron", "message"}:
        raise ValueError(f"{place}.trigger: is required for {kind}; only pop-batch works without one")
    source = {**namespace, kind: details}
    if "value-format" in values:
        source["value-format"] = values["value-format"]
    return {**members, "input": source}


def _object(place: str, value: Any, known: Iterable[str] | None = None) -> Json:
    if not isinstance(value, dict):
        raise ValueError(f"{place}: expected an object")
    for name in value:
        if known is not None and name not in known:
            raise ValueError(f"{place}.{name}: there is no such member; expected one of {', '.join(known)}")
    return value


def _camel(value: Any) -> Any:
    """With the names that the API has, but for what is the user's own."""
    if isinstance(value, dict):
        renamed = {to_camel(str(name).replace("-", "_")): inner for name, inner in value.items()}
        return {name: inner if name in _AS_IT_IS else _camel(inner) for name, inner in renamed.items()}
    return list(map(_camel, value)) if isinstance(value, list) else value


def _described(error: ValidationError, members: Mapping[str, Any]) -> str:
    """All violations, each with its place in the words of the file."""
    spelled = {to_camel(name.replace("-", "_")): name for name in _names(members)}
    return "; ".join(
        ".".join(spelled.get(str(part), str(part)) for part in entry["loc"]) + f": {entry['msg']}"
        for entry in error.errors(include_url=False, include_context=False, include_input=False)
    )


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from _names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner)
