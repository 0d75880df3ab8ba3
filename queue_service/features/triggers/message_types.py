"""What the types of messages that filters name stand for here (``seed-systems.md`` D.6): 155, each once.

A type stands for messages of some of our exchanges, perhaps with some values in the body; or for something
that is no message here; or for something that only the product of the table has.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

Source = Literal["job", "worker", "server"]

TASK_EXCHANGES: Final = (
    "task-defined",
    "task-pending",
    "task-running",
    "task-completed",
    "task-failed",
    "task-exception",
)


@dataclass(frozen=True, slots=True)
class Kind:
    """Messages of an exchange, by its name, whose body has one of these values at each path.

    With ``one_of``, also one of these members, whatever its value.
    """

    exchange: str
    where: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    one_of: tuple[str, ...] = ()

    def __hash__(self) -> int:
        return hash(self.exchange)


def _kinds(*exchanges: str, **where: tuple[Any, ...]) -> tuple[Kind, ...]:
    return tuple(Kind(exchange, where) for exchange in exchanges)


def _ended(*reasons: str) -> tuple[Kind, ...]:
    return _kinds("task-exception", reason=reasons)


_ENDED: Final = _kinds("task-completed", "task-failed")
_STEPS: Final = (Kind("job-updated", one_of=("step", "progress")),)
_LINES: Final = (Kind("job-updated", one_of=("log",)),)
_AMOUNTS: Final = (Kind("job-updated", one_of=("progress",)),)
_ATTACHED: Final = _kinds("worker-attached")
_DETACHED: Final = _kinds("worker-detached")

MAPPED: Final[dict[str, tuple[Kind, ...]]] = {
    **dict.fromkeys(
        ("job-staged", "job-initiated", "job-required", "job-deploy-ready"), _kinds("task-defined")
    ),
    **dict.fromkeys(("job-deployed", "deployed-job-should-be-running"), _kinds("task-pending")),
    **dict.fromkeys(
        (
            "job-run-started",
            "job-started",
            "job-is-processing",
            "job-running-docker",
            "job-running-script",
            "job-running-subprocess",
            "job-running-system-d",
            "deployed-job-active",
        ),
        _kinds("task-running"),
    ),
    **dict.fromkeys(("job-run-ended", "job-finished", "job-stopped"), _ENDED),
    **dict.fromkeys(("run-job-failure", "job-runtime-error"), _kinds("task-failed")),
    "job-timed-out": _ended("deadline-exceeded"),
    "job-killed": _ended("canceled"),
    **dict.fromkeys(
        ("job-stopping", "job-shutting-down", "begin-shutting-down-job"), _ended("worker-shutdown")
    ),
    **dict.fromkeys(("job-state-transition", "job-execution-status"), _kinds(*TASK_EXCHANGES)),
    "job-batch-end": _kinds("task-group-resolved"),
    **dict.fromkeys(
        ("job-step-statistics", "job-document-start", "job-document-end", "job-checkpoint-update"), _STEPS
    ),
    **dict.fromkeys(("job-logs", "job-trace", "job-trace-requires-samples"), _LINES),
    "job-metrics": _AMOUNTS,
    "job-errors": _kinds("job-resolved", state=("ERROR",)),
    **dict.fromkeys(
        (
            "worker-connected",
            "worker-created",
            "worker-started",
            "worker-updated",
            "worker-modified",
            "worker-settings",
            "worker-system-information",
            "worker-state-uuid",
        ),
        _ATTACHED,
    ),
    "worker-first-seen": _kinds("worker-attached", firstSeen=(True,)),
    **dict.fromkeys(
        (
            "worker-offline",
            "worker-stopping",
            "worker-shutdown",
            "worker-shutting-down",
            "worker-removed",
            "shutdown-worker",
            "begin-shutting-down-worker",
        ),
        _DETACHED,
    ),
    **dict.fromkeys(("variable", "update-variable"), _kinds("kv-changed", op=("put",))),
    "variable-deleted": _kinds("kv-changed", op=("delete", "expire")),
    "context-changed": _kinds("kv-changed"),
    "user-generated": _kinds("user-message"),
    "user-alert": _kinds("user-message", level=("alert",)),
    "user-notification": _kinds("user-message", level=("info",)),
    **dict.fromkeys(("job-emit-custom", "job-notifications"), _kinds("user-message", source=("job",))),
    **dict.fromkeys(("runtime-artifact-update", "runtime-artifact-update-ack"), _kinds("artifact-created")),
    **dict.fromkeys(
        ("job-suspicious-silence", "job-execution-anomaly", "job-idle", "check-job-report-time"),
        _kinds("job-stalled"),
    ),
    "job-backlog-update": _kinds("queue-stats"),
    **dict.fromkeys(
        (
            "worker-suspicious-silence",
            "check-worker-report-time",
            "worker-error",
            "worker-server-comms-error",
            "job-worker-comms-error",
            "server-worker-comms-error",
        ),
        _kinds("worker-silent"),
    ),
    **dict.fromkeys(
        (
            "server-starting",
            "server-started",
            "server-stopping",
            "system-shutdown",
            "begin-shutting-down-server",
            "shutdown-jobs",
            "aggregator-health",
        ),
        _kinds("service-state"),
    ),
}
"""Types that are messages here."""

_LOGS: Final = "it is in the metrics and the logs"
NO_MESSAGE: Final[dict[str, str]] = {
    **dict.fromkeys(
        ("heart-beat", "worker-heart-beat", "worker-debug-heart-beat"), "heartbeats are recorded and not told"
    ),
    **dict.fromkeys(("worker-logs", "worker-metrics-batch", "server-logs", "server-metrics-batch"), _LOGS),
    **dict.fromkeys(
        ("message-serviced", "failed-to-service-message"), "it is kept with the firings of the trigger"
    ),
}
"""Types that are something else than a message here, and what."""

PRODUCT: Final[dict[str, str]] = {
    **dict.fromkeys(
        (
            "worker-licensed",
            "worker-unlicensed",
            "license-state-changed",
            "license-validation-failed",
            "license-validation-ok",
            "license-volume-violation",
            "new-license",
        ),
        "licensing",
    ),
    **dict.fromkeys(
        (
            "broadcast-job-thread-state",
            "broadcast-server-thread-state",
            "broadcast-worker-thread-state",
            "de-register-job-thread-dependency",
            "de-register-server-thread-dependency",
            "de-register-worker-thread-dependency",
            "register-job-thread-dependency",
            "register-server-thread-dependency",
            "register-worker-thread-dependency",
            "override-job-coordinated-shutdown",
            "override-server-coordinated-shutdown",
            "override-worker-coordinated-shutdown",
            "job-thread-state",
            "server-thread-state",
            "worker-thread-state",
            "initialise-internal-state",
            "initialise-job-states",
        ),
        "its bookkeeping of threads and shutdowns",
    ),
    **dict.fromkeys(
        (
            "deployed-job-removed",
            "deployment-phase",
            "job-removing",
            "job-removed",
            "job-remove-failed",
            "job-remove-ready",
            "job-replaced",
            "job-updated",
            "job-unstaged",
            "job-settings",
            "job-runtime-settings",
            "rerender-deployment",
            "update-upstream-sync-for-job",
            "update-upstream-sync-for-worker",
            "worker-command-for-job",
        ),
        "the deployment of its pipelines",
    ),
    **dict.fromkeys(
        (
            "worker-wants-initial-settings",
            "worker-wants-initial-settings-reply",
            "worker-wants-deployed-jobs",
            "worker-wants-deployed-jobs-reply",
            "worker-wants-job-configuration",
            "worker-wants-job-configuration-reply",
            "job-wants-dslir-key",
            "job-wants-dslir-key-reply",
            "worker-wants-dslir-key",
            "worker-wants-dslir-key-reply",
            "job-wants-variables",
            "job-wants-variables-reply",
            "job-wants-credentials",
            "job-wants-credentials-reply",
            "job-wants-credentials-error",
            "job-wants-secret-variables-reply",
            "job-credentials-invalidated",
            "worker-verification-token",
            "worker-requests-verification-token",
            "worker-auth-lease-ack",
            "worker-requests-auth-lease",
        ),
        "its hand-shakes over configuration and secrets, which are calls here",
    ),
    **dict.fromkeys(
        (
            "runtime-artifact-clear",
            "runtime-artifact-clear-ack",
            "runtime-artifact-fetch",
            "runtime-artifact-fetch-reply",
            "runtime-artifact-fetch-error",
        ),
        "its cache of artifacts",
    ),
}
"""Types that only the product has, and what they are about."""

SOURCES: Final[dict[str, Source]] = {
    **dict.fromkeys((*TASK_EXCHANGES, "task-group-resolved", "task-group-sealed", "artifact-created"), "job"),
    **dict.fromkeys(("task-priority-changed", "task-group-priority-changed"), "job"),
    **dict.fromkeys(("job-updated", "job-resolved", "job-stalled"), "job"),
    **dict.fromkeys(("worker-attached", "worker-detached", "worker-silent"), "worker"),
    **dict.fromkeys(("kv-changed", "workset-member-dead", "service-state", "queue-stats"), "server"),
    **dict.fromkeys(("queue-paused", "queue-resumed"), "server"),
}
"""Where messages of our exchanges come from; those of users say it themselves."""
USER: Final = "user-message"
