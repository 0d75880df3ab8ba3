"""The reference of the exchanges, generated from their declarations.

``python -m events.reference`` prints it for people, as Markdown; with ``--json`` for programs.
"""

import json
import sys
from collections.abc import Iterable
from typing import Any, Final

from pydantic.alias_generators import to_camel

from events.bindings import BINDINGS, TaskBinding
from events.exchanges import ABSENT, EXCHANGES, QUEUE_EXCHANGES, Exchange, Word
from events.messages import ROUTE_PREFIX

HEADER: Final = """\
# Events

<!-- Generated from the declarations by `python -m events.reference`; edit events/exchanges.py instead. -->

Every change of a task, and of a client or role, is published on one of the exchanges below. They are
durable topic exchanges; bind a queue to those you want to hear. Messages are persistent UTF-8 JSON objects
(`application/json`), and `status` is always the state *after* the change. Delivery is at least once: be ready
to see a message again. Within a queue, the messages about one task come in the order of the changes.

The routing key is made of the words listed below, joined by dots; an absent optional word is `_`. In a
binding `*` stands for one word and `#` for any number of words. A message about a task is also routed
as `route.<route>` for every route in `task.routes` (header `CC`).

In Python each exchange has a class in `events` whose keyword arguments are these words:

```python
from events import Listener, TaskCompleted

async with Listener("amqp://localhost") as listener:

    @listener.on(TaskCompleted(task_queue_id="prov/*"), queue="my-watcher")
    async def handle(event): ...
```
"""


def reference(exchanges: Iterable[Exchange] = QUEUE_EXCHANGES, *, service: str = "queue") -> dict[str, Any]:
    """The exchanges of one service as a JSON object."""
    entries = list(exchanges)
    return {
        "serviceName": service,
        "apiVersion": "v1",
        "exchangePrefix": entries[0].prefix,
        "absentWord": ABSENT,
        "ccPrefix": ROUTE_PREFIX,
        "entries": [_entry(exchange) for exchange in entries],
    }


def _entry(exchange: Exchange) -> dict[str, Any]:
    return {
        "name": to_camel(exchange.name.replace("-", "_")),
        "exchange": exchange.name,
        "fullExchange": exchange.full_name,
        "title": exchange.title,
        "description": exchange.description,
        "type": "topic",
        "durable": True,
        "autoDelete": False,
        "internal": False,
        "routingKey": [_word(word) for word in exchange.words],
        "schema": f"{exchange.payload.schema_name}.json",
    }


def _word(word: Word) -> dict[str, Any]:
    constant = {} if word.constant is None else {"constant": word.constant}
    return {
        "name": word.name,
        "summary": word.summary,
        "required": word.required,
        "multipleWords": word.multiple_words,
        "maxSize": word.max_size,
        **constant,
    }


def markdown(exchanges: Iterable[Exchange] = EXCHANGES) -> str:
    """The exchanges as a page of the documentation."""
    sections = [_section(exchange) for exchange in exchanges]
    return "\n".join([HEADER, *sections])


def _section(exchange: Exchange) -> str:
    binding = BINDINGS[exchange.name]
    route = f', or `{binding.__name__}.route("…")`' if issubclass(binding, TaskBinding) else ""
    words = [
        f"| `{word.name}` | {word.summary} | {'yes' if word.required else 'may be `_`'} | {word.max_size} |"
        for word in exchange.words
    ]
    fields = exchange.payload.model_fields
    members = [
        f"| `{to_camel(name)}` | {'yes' if field.is_required() or name == 'version' else 'may be absent'} |"
        for name, field in fields.items()
    ]
    return "\n".join(
        [
            f"## {exchange.title}",
            "",
            exchange.description,
            "",
            f"* Exchange: `{exchange.full_name}`",
            f"* Message: `{exchange.payload.__module__}.{exchange.payload.__name__}`, "
            f"schema [`{exchange.payload.schema_name}.json`](schemas/{exchange.payload.schema_name}.json)",
            f"* Binding: `events.{binding.__name__}(…)`{route}",
            "",
            "| word of the routing key | meaning | always there | most bytes |",
            "|---|---|---|---|",
            *words,
            "",
            "| member of the message | always there |",
            "|---|---|",
            *members,
            "",
        ]
    )


if __name__ == "__main__":
    print(json.dumps(reference(), indent=1) if "--json" in sys.argv[1:] else markdown(), end="")
