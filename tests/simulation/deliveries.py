"""In the end everything that was to be told must have been told, in order."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.simulation.broker import Delivery
from tests.simulation.history import History, Life, Step, of_group
from tests.simulation.model import ENDED, State, shown_of

Places = dict[tuple[str, int | None], int]
"""Where each message of a task is among the first copies of all: exchange and run."""


def first_copies(history: History, deliveries: Sequence[Delivery]) -> list[Delivery]:
    """The first of each message; later ones must be equal to it."""
    copies: dict[str, Delivery] = {}
    for delivery in deliveries:
        if copies.setdefault(delivery.message_id, delivery).text != delivery.text:
            history.violated(f"message-id {delivery.message_id} stands for two messages")
    return list(copies.values())


class Deliveries:
    """Judges what is in the durable queue."""

    def __init__(self, history: History) -> None:
        self._history = history

    def judge(self, copies: Sequence[Delivery]) -> None:
        """``copies``: the first of each message, in the order of arrival."""
        told: dict[str, list[tuple[int, Delivery]]] = defaultdict(list)
        for place, delivery in enumerate(copies):
            told[_about(delivery)].append((place, delivery))
        places = {}
        for task_id, life in self._history.lives.items():
            places[task_id] = self._judge_told(task_id, life, told[task_id])
        self._judge_causes(places)
        self._judge_groups(places, told)
        self._judge_owed(told)
        self._judge_announced(told)

    def _judge_told(self, task_id: str, life: Life, told: Sequence[tuple[int, Delivery]]) -> Places:
        """Per task in commit order; what is told again was told before."""
        wanted = [wish for step in life.steps for wish in _wishes(step)]
        shown = {step.after.shown for step in life.steps if step.after is not None}
        places: Places = {}
        number = 0
        for place, delivery in told:
            if delivery.exchange == "task-priority-changed":
                continue
            event = (delivery.exchange, delivery.body.get("runId"))
            status = delivery.body["status"]
            ahead = number
            while ahead < len(wanted) and wanted[ahead].event != event and wanted[ahead].perhaps:
                ahead += 1
            if ahead < len(wanted) and wanted[ahead].fits(event, status):
                number = ahead + 1
                places.setdefault(event, place)
            elif event not in places:
                heard = [(item.exchange, item.body.get("runId")) for _, item in told]
                self._history.violated(
                    f"{task_id}: heard {heard}, to be told was {[wish.event for wish in wanted]}; "
                    f"{event} told with {shown_of(status)}"
                )
                return places
            elif event[0] != "task-defined" and shown_of(status) not in shown:
                self._history.violated(
                    f"{task_id}: {event} told again with a status that never was: {status}"
                )
        missing = [wish.event for wish in wanted[number:] if not wish.perhaps]
        if missing:
            self._history.violated(f"{task_id}: never told: {missing}")
        return places

    def _judge_announced(self, told: dict[str, list[tuple[int, Delivery]]]) -> None:
        """Of other things than tasks all is told once, in order."""
        for about, wanted in self._history.announced.items():
            heard = [_word(delivery) for _, delivery in told[about]]
            if heard != wanted:
                self._history.violated(f"{about}: heard {heard}, to be told was {wanted}")

    def _judge_causes(self, places: dict[str, Places]) -> None:
        """A dependent is told pending after the end of what it waited for."""
        for task_id, life in self._history.lives.items():
            pending = places[task_id].get(("task-pending", 0))
            if pending is None or life.by_call:
                continue
            for needed in life.definition["dependencies"]:
                ends = [place for (name, _), place in places.get(needed, {}).items() if name[5:] in ENDED]
                if needed != task_id and not any(place < pending for place in ends):
                    self._history.violated(f"{task_id}: told pending before the end of {needed}")

    def _judge_groups(
        self,
        places: dict[str, Places],
        told: dict[str, list[tuple[int, Delivery]]],
    ) -> None:
        """task-group-resolved comes after the end of the group's last task."""
        last_end: dict[str, str] = {}
        for group_id, task_id in self._history.ends:
            last_end[group_id] = task_id
        for group_id, task_id in last_end.items():
            members = [life for life in self._history.lives.values() if life.group_id == group_id]
            existing = [life.state for life in members]
            if any(state is None or not state.ever_resolved for state in existing):
                continue
            ends = [place for (name, _), place in places[task_id].items() if name[5:] in ENDED]
            heard = [
                place for place, item in told[of_group(group_id)] if item.exchange == "task-group-resolved"
            ]
            if not any(place > min(ends, default=0) for place in heard):
                self._history.violated(f"group {group_id}: its being resolved was not told")

    def _judge_owed(self, told: dict[str, list[tuple[int, Delivery]]]) -> None:
        for exchange, about, word in self._history.owed:
            for _, delivery in told[about]:
                if delivery.exchange == exchange and word in (None, delivery.body.get("newPriority")):
                    break
            else:
                self._history.violated(f"{exchange} {word or ''} of {about} was never told")


@dataclass(frozen=True)
class _Wish:
    """A message of a task that is to be told, and the state that it shows."""

    event: tuple[str, int | None]
    state: State | None
    perhaps: bool = False

    def fits(self, event: tuple[str, int | None], status: dict[str, Any]) -> bool:
        if event != self.event:
            return False
        if event[0] == "task-defined":
            return not status["runs"] and status["state"] == "unscheduled"
        return self.state is None or shown_of(status) == self.state.shown


def _wishes(step: Step) -> list[_Wish]:
    return [
        *(_Wish(event, step.before, perhaps=True) for event in step.perhaps),
        *(_Wish(event, step.after) for event in step.told),
    ]


def _about(delivery: Delivery) -> str:
    body = delivery.body
    match delivery.exchange:
        case "queue-paused" | "queue-resumed":
            return f"queue {body['taskQueueId']}"
        case "workset-member-dead":
            return f"member {body['memberId']}"
        case "trigger-blocked":
            return f"trigger {body['triggerId']}"
        case "kv-changed":
            return f"key {body['key']}"
    return body["status"]["taskId"] if "status" in body else of_group(body["taskGroupId"])


def _word(delivery: Delivery) -> str:
    if delivery.exchange == "workset-member-dead":
        return f"dead after {delivery.body['deliveries']}"
    return delivery.exchange
