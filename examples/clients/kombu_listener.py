"""Raw ``kombu``, as Celery uses it: print every task that becomes pending, by a durable queue."""

import os
from typing import Any

import kombu

AMQP_URL = os.environ.get("TASKBUS_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/")
PENDING = kombu.Exchange("exchange/taskcluster-queue/v1/task-pending", "topic", passive=True)
QUEUE = kombu.Queue("examples/kombu", PENDING, routing_key="primary.#", durable=True)


def pending(body: Any, message: kombu.Message) -> None:
    print("pending", body["status"]["taskId"], body["status"]["taskQueueId"], flush=True)
    message.ack()


def main(amqp_url: str = AMQP_URL) -> None:
    with kombu.Connection(amqp_url) as connection, connection.Consumer(QUEUE, callbacks=[pending]):
        print("listening", flush=True)
        while True:
            connection.drain_events()


if __name__ == "__main__":
    main()
