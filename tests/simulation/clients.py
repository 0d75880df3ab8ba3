"""What clients, workers and consumers do: their actions as calls, and what they do with the replies."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from schemas.times import format_time, from_ms
from tests.simulation.calls import Reply, Request
from tests.simulation.plan import QUEUES, Action
from tests.simulation.scheduler import Scheduler

SET: Final = "urls"
PLAIN_RUN: Final[dict[str, Any]] = {"conduct": ((0.1, "completed"),)}


class Send(Protocol):
    """Call some server; ``leaves``: the client hangs up after so many seconds."""

    def __call__(
        self, request: Request, then: Callable[[Reply], None] | None = None, leaves: float = 0.0
    ) -> None: ...


class Clients:
    """Everybody who calls. ``clock`` tells the service's time in milliseconds."""

    def __init__(
        self, task_ids: Sequence[str], scheduler: Scheduler, clock: Callable[[], int], send: Send
    ) -> None:
        self._task_ids = task_ids
        self._scheduler = scheduler
        self._clock = clock
        self._send = send
        self._definitions: dict[int, dict[str, Any]] = {}
        self._versions: dict[str, int] = {}
        self._triggers: dict[str, dict[str, Any]] = {}

    def act(self, action: Action) -> bool:
        """Do it, if it is a client's action; whether it was."""
        facts = action.facts
        match action.kind:
            case "create":
                self._create(facts)
            case "work":
                self._work(facts)
            case "call":
                self._call(facts)
            case "group call":
                group_id = self._task_ids[facts["group"]]
                self._send(Request(facts["method"], group_id=group_id, word=facts.get("priority")))
            case "queue call":
                self._send(Request(facts["method"], queue_id=facts["queue"]))
            case "set call":
                self._fill(facts)
            case "consume":
                self._consume(facts)
            case "trigger call":
                self._trigger(facts)
            case "value call":
                self._value(facts)
            case _:
                return False
        return True

    def resume(self) -> None:
        """Let all task queues be worked on."""
        for queue_id in QUEUES:
            self._send(Request("resume_task_queues", queue_id=queue_id))

    def drain(self, *, members: bool) -> None:
        """Do all that is to be had."""
        for queue_id in QUEUES:
            self._work({"worker": "p/probe", "queue": queue_id, "wanted": 32, "leaves": 0.0, **PLAIN_RUN})
        if members:
            conduct = ((0.1, "ack", {"some": False}),)
            self._consume({"limit": 32, "mode": "ack-batch", "ttl": 30_000, "wait": 0, "leaves": 0.0,
                           "conduct": conduct})  # fmt: skip

    def delete_triggers(self) -> None:
        """Let nothing start by itself any more."""
        for trigger_id in sorted(self._triggers):
            self._send(Request("delete_trigger", trigger_id=trigger_id))

    # ---- tasks ----------------------------------------------------------------------------------------

    def _create(self, facts: dict[str, Any]) -> None:
        number = facts["task"]
        definition = self._definitions.setdefault(number, self._definition(facts))
        request = Request("create_task", task_id=self._task_ids[number], definition=definition)
        self._send(request)
        if facts["again"]:
            self._scheduler.after(facts["again"], self._send, request)

    def _definition(self, facts: dict[str, Any]) -> dict[str, Any]:
        now = self._clock()
        deadline = now + facts["deadline"] * 1000
        expires = deadline + facts["expires"] * 1000 if facts["expires"] else deadline + 86_400_000
        return {
            "taskQueueId": facts["queue"],
            "schedulerId": "sim",
            "taskGroupId": self._task_ids[facts["group"]],
            "dependencies": [self._task_ids[needed] for needed in facts["needs"]],
            "requires": facts["requires"],
            "priority": facts["priority"],
            "retries": facts["retries"],
            "created": format_time(from_ms(now)),
            "deadline": format_time(from_ms(deadline)),
            "expires": format_time(from_ms(expires)),
            "payload": {},
            "metadata": {"name": "n", "description": "d", "owner": "o", "source": "https://example.com"},
            **self._wishes(facts),
        }

    def _wishes(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Beyond a plain task."""
        wishes: dict[str, Any] = {}
        if facts.get("attempts", 1) > 1:
            wishes["maxAttempts"] = facts["attempts"]
            if facts["policy"] is not None:
                wishes["retryPolicy"] = facts["policy"]
        if facts.get("starts") is not None:
            wishes["runAt"] = self._in(facts["starts"])
        if facts.get("held"):
            wishes["held"] = True
        if facts.get("slot") is not None:
            kept = {} if facts["kept"] is None else {"uniqueFor": facts["kept"]}
            wishes |= {"payload": {"slot": facts["slot"]}, "unique": {"byArgs": True, **kept}}
        return wishes

    def _call(self, facts: dict[str, Any]) -> None:
        task_id = self._task_ids[facts["task"]]
        request = Request(facts["method"], task_id=task_id, run_id=facts.get("run"),
                          worker=facts.get("worker"), word=facts.get("priority"))  # fmt: skip

        def claimed(reply: Reply) -> None:
            if reply.error is None:
                self._behave(task_id, request.run_id or 0, facts)

        self._send(request, claimed if request.method == "claim_task" else None)

    # ---- workers --------------------------------------------------------------------------------------

    def _work(self, facts: dict[str, Any]) -> None:
        request = Request(
            "claim_work", queue_id=facts["queue"], worker=facts["worker"], wanted=facts["wanted"]
        )

        def claimed(reply: Reply) -> None:
            for claim in reply.body.get("tasks", ()) if reply.error is None else ():
                self._behave(claim["status"]["taskId"], claim["runId"], facts)

        self._send(request, claimed, facts["leaves"])

    def _behave(self, task_id: str, run_id: int, facts: dict[str, Any]) -> None:
        """Do one thing after the other with a run, each so long after the one before."""
        delay = 0.0
        for pause, word in facts["conduct"]:
            delay += pause
            self._scheduler.after(delay, self._report, task_id, run_id, word, facts)

    def _report(self, task_id: str, run_id: int, word: str, facts: dict[str, Any]) -> None:
        method, body = "report_exception", {}
        match word:
            case "reclaim":
                method = "reclaim_task"
            case "completed":
                method = "report_completed"
            case "failed":
                method, body = "report_failed", dict(facts.get("failure", {}))
                if "retryIn" in body:
                    body = {"error": "wrong", "retryAt": self._in(body["retryIn"])}
            case "snooze":
                method, body = "snooze_run", {"delay": facts["snooze"]}
            case "cancel":
                method, body = "cancel_run", {"error": "wrong"}
        reason = word if method == "report_exception" else None
        self._send(Request(method, task_id=task_id, run_id=run_id, word=reason, body=body))

    # ---- sets and values ------------------------------------------------------------------------------

    def _fill(self, facts: dict[str, Any]) -> None:
        if "deliveries" in facts:
            self._send(Request("configure_set", set_name=SET, body={"maxDeliveries": facts["deliveries"]}))
            return
        later = {} if facts["later"] is None else {"availableAt": self._in(facts["later"])}
        members = [{"id": member_id, **later} for member_id in facts["add"]]
        self._send(Request("add_members", set_name=SET, body={"members": members}))

    def _consume(self, facts: dict[str, Any]) -> None:
        body = {"limit": facts["limit"], "leaseTtlMs": facts["ttl"], "ackMode": facts["mode"]}
        if facts["wait"]:
            body["wait"] = facts["wait"]

        def popped(reply: Reply) -> None:
            delay = 0.0
            ids = [member["id"] for member in reply.body.get("members", ())]
            for pause, verb, told in facts["conduct"] if ids else ():
                delay += pause
                body: dict[str, Any] = {"leaseTtlMs": told["ttl"]} if verb == "extend" else {}
                if verb == "nack":
                    body["delay"] = told["delay"]
                if told["some"] and facts["mode"] == "ack-each" and verb != "extend":
                    body["ids"] = ids[:1]
                request = Request(verb, lease_id=reply.body["leaseId"], body=body)
                self._scheduler.after(delay, self._send, request)

        self._send(Request("pop_members", set_name=SET, body=body), popped, facts["leaves"])

    def _value(self, facts: dict[str, Any]) -> None:
        key = facts["key"]
        body: dict[str, Any] = {}
        if facts["method"] == "put_value":
            body["value"] = facts["value"]
            if facts["ttl"] is not None:
                body["ttl"] = facts["ttl"]
            if facts["version"] is not None:
                body["ifVersion"] = 0 if facts["version"] == 0 else self._versions.get(key, 0)

        def written(reply: Reply) -> None:
            if reply.error is None and "version" in reply.body:
                self._versions[key] = reply.body["version"]

        self._send(Request(facts["method"], key=key, body=body), written)

    # ---- triggers -------------------------------------------------------------------------------------

    def _trigger(self, facts: dict[str, Any]) -> None:
        trigger_id = facts["trigger"]
        if facts["method"] != "create_trigger":
            self._send(Request(facts["method"], trigger_id=trigger_id))
            return
        body = self._triggers.setdefault(trigger_id, self._trigger_definition(facts))
        self._send(Request("create_trigger", trigger_id=trigger_id, body=body))

    def _trigger_definition(self, facts: dict[str, Any]) -> dict[str, Any]:
        interval: dict[str, Any] = {"duration": facts["duration"], "immediate": facts["immediate"]}
        if facts["spread"]:
            interval["randomOffset"] = facts["spread"]
        if facts["size"] is not None:
            interval["window"] = {"size": facts["size"], "offset": facts["delay"]}
            if facts["start"] is not None:
                start = {"startTime": self._in(facts["start"])}
                interval["window"] |= {"start": start, "catchUp": facts["catch_up"]}
        task = {
            "taskQueueId": facts["queue"],
            "schedulerId": "sim",
            "dependencies": [],
            "requires": "all-completed",
            "priority": "lowest",
            "retries": 1,
            "deadline": self._in(facts["deadline"]),
            "expires": self._in(facts["deadline"] + 86_400),
            "payload": {},
            "metadata": {"name": "n", "description": "d", "owner": "o", "source": "https://example.com"},
        }
        return {
            "interval": interval,
            "misfire": facts["misfire"],
            "overlap": facts["overlap"],
            "retry": {"retries": facts["retries"]},
            "task": task,
        }

    def _in(self, seconds: float) -> str:
        """The time so long from now."""
        return format_time(from_ms(self._clock() + round(seconds * 1000)))
