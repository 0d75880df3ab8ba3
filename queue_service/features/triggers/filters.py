"""Which messages fire a trigger: its filters as AMQP bindings, and as a test of the body (TR-6)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from events import keys
from events.exchanges import EXCHANGES, Exchange, find_exchange
from queue_service.core.errors import InputError
from queue_service.features.firing.queues import Bound
from queue_service.features.triggers.message_types import MAPPED, NO_MESSAGE, PRODUCT, SOURCES, USER, Kind
from schemas.ids import GENERIC_ID_PATTERN, SLUGID_PATTERN, TASK_QUEUE_ID_PATTERN
from schemas.triggers import MessageFilter

Body = Mapping[str, Any]

_BY_NAME: Final[dict[str, Exchange]] = {
    exchange.name: exchange for exchange in EXCHANGES if exchange.name in {*SOURCES, USER}
}
_SLUGID: Final = re.compile(SLUGID_PATTERN)
_QUEUE: Final = re.compile(TASK_QUEUE_ID_PATTERN)
_WORKER: Final = re.compile(GENERIC_ID_PATTERN)


def check(filters: MessageFilter) -> None:
    """Raise InputError for filters that name what does not exist here, or that nothing can pass."""
    for number, name in enumerate(filters.filter_type or ()):
        _check_type(name, f"/message/filterType/{number}")
    if filters.filter_tag and filters.filter_kind == "system":
        raise InputError(
            "`/message/filterTag`: only user messages have tags, and `filterKind` is `system`: no message "
            "can pass both."
        )
    if filters.filter_worker is not None and _WORKER.fullmatch(filters.filter_worker) is None:
        raise InputError(f"`/message/filterWorker`: `{filters.filter_worker}` is no id of a worker.")
    if not bindings(filters):
        raise InputError("`/message`: no message can pass all of these filters together.")


def bindings(filters: MessageFilter) -> frozenset[Bound]:
    """What the trigger's queue is bound to: everything that may pass, and as little else as possible."""
    if filters.bindings is not None:
        return frozenset(Bound(one.exchange, one.routing_key_pattern) for one in filters.bindings)
    return frozenset(
        Bound(exchange.full_name, pattern)
        for exchange in _exchanges(filters)
        for pattern in _patterns(exchange, filters)
    )


def passes(filters: MessageFilter, exchange_name: str, body: Body) -> bool:
    """Whether a message of this exchange fires the trigger: it passes all filters that are given."""
    exchange = find_exchange(exchange_name)
    name = "" if exchange is None else exchange.name
    if filters.filter_kind is not None and filters.filter_kind != ("user" if name == USER else "system"):
        return False
    if filters.filter_source is not None and _source(name, body) not in filters.filter_source:
        return False
    if filters.filter_type is not None and not any(
        kind.exchange == name and _has(body, kind) for type_ in filters.filter_type for kind in _kinds(type_)
    ):
        return False
    if filters.filter_tag is not None and (name != USER or body.get("tag") not in filters.filter_tag):
        return False
    if filters.filter_worker is not None and body.get("workerId") != filters.filter_worker:
        return False
    return filters.filter_job is None or filters.filter_job in _jobs(body)


def task_of(body: Body) -> str | None:
    """The id of the task that a message is about; None when it is about none."""
    status = body.get("status")
    found = status.get("taskId") if isinstance(status, dict) else None
    found = found or body.get("jobId") or body.get("taskId")
    return found if isinstance(found, str) else None


def _check_type(name: str, place: str) -> None:
    if name in PRODUCT:
        raise InputError(
            f"`{place}`: messages of the type `{name}` are specific to the product that this list comes from "
            f"({PRODUCT[name]}); there are none here."
        )
    if name in NO_MESSAGE:
        raise InputError(f"`{place}`: `{name}` is no message here: {NO_MESSAGE[name]}.")
    known = _kinds(name)
    if not known:
        raise InputError(
            f"`{place}`: there is no type of messages `{name}`. Expected one of the documented types, or the "
            "name of an exchange such as task-completed."
        )
    if all(kind.exchange not in _BY_NAME for kind in known):
        raise InputError(f"`{place}`: this version publishes no messages of the type `{name}`.")


def _kinds(name: str) -> tuple[Kind, ...]:
    """What a type stands for: one of the table, or one of our exchanges by its name."""
    if name in MAPPED:
        return MAPPED[name]
    return (Kind(name),) if name in _BY_NAME and name not in PRODUCT else ()


def _exchanges(filters: MessageFilter) -> Iterator[Exchange]:
    """The exchanges whose messages may pass."""
    wanted = set(_BY_NAME)
    if filters.filter_type is not None:
        wanted &= {kind.exchange for name in filters.filter_type for kind in _kinds(name)}
    if filters.filter_kind is not None:
        wanted = {name for name in wanted if (name == USER) == (filters.filter_kind == "user")}
    if filters.filter_tag is not None:
        wanted &= {USER}
    if filters.filter_source is not None:
        wanted = {name for name in wanted if name == USER or SOURCES[name] in filters.filter_source}
    return (_BY_NAME[name] for name in sorted(wanted))


def _patterns(exchange: Exchange, filters: MessageFilter) -> Iterator[str]:
    """The routing keys of an exchange that may pass; none if it lacks a word that a filter asks for."""
    words = {word.parameter for word in exchange.words}
    asked: dict[str, str] = {}
    if filters.filter_worker is not None:
        if "worker_id" not in words:
            return
        asked["worker_id"] = filters.filter_worker
    sources = filters.filter_source if exchange.name == USER and filters.filter_source else (None,)
    tags = filters.filter_tag if filters.filter_tag is not None else (None,)
    for source in sources:
        for tag in tags:
            given = {**asked, "source": source, "tag": tag}
            chosen = {name: value for name, value in given.items() if value is not None}
            for job in _job_words(words, filters.filter_job):
                try:
                    yield keys.pattern(exchange, **chosen, **job)
                except ValueError:
                    continue  # no message has such a word


def _job_words(words: set[str], job: str | None) -> Iterator[dict[str, str]]:
    """How routing keys with these words may name a job: by its id, its group, its task queue or its type."""
    if job is None:
        yield {}
        return
    if _SLUGID.fullmatch(job):
        for name in words & {"task_id", "job_id", "task_group_id"}:
            yield {name: job}
    elif _QUEUE.fullmatch(job) and "worker_type" in words:
        provisioner_id, _, worker_type = job.partition("/")
        yield {"provisioner_id": provisioner_id, "worker_type": worker_type}
    if "type" in words:
        yield {"type": job.replace(".", "_")}


def _source(exchange: str, body: Body) -> object:
    return body.get("source") if exchange == USER else SOURCES.get(exchange)


def _has(body: Body, kind: Kind) -> bool:
    if kind.one_of and not any(body.get(name) is not None for name in kind.one_of):
        return False
    return all(_value(body, name) in values for name, values in kind.where.items())


def _value(body: Body, name: str) -> object:
    """A member of a body; the ``reason`` is that of the last run."""
    if name != "reason":
        return body.get(name)
    status = body.get("status")
    runs = status.get("runs") if isinstance(status, dict) else None
    if not isinstance(runs, list) or not runs:
        # A task without a run ended before it had one: by a cancellation, or by its deadline.
        return body.get("reason")
    run = body.get("runId", len(runs) - 1)
    chosen = runs[run] if isinstance(run, int) and 0 <= run < len(runs) else runs[-1]
    return chosen.get("reasonResolved") if isinstance(chosen, dict) else None


def _jobs(body: Body) -> set[object]:
    """By what a message may be asked for as the job that it is about."""
    status = body.get("status")
    about = status if isinstance(status, dict) else body
    found = {about.get(name) for name in ("taskId", "taskGroupId", "taskQueueId")}
    return found | {body.get("jobId"), body.get("type"), body.get("taskGroupId")}
