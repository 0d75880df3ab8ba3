"""Raw ``pika``: print every task that ends, by the exchanges and routing keys of Taskcluster."""

import json
import os

import pika

AMQP_URL = os.environ.get("TASKBUS_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/")


def main(amqp_url: str = AMQP_URL) -> None:
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        for end in ("completed", "failed", "exception"):
            channel.queue_bind(queue, f"exchange/taskcluster-queue/v1/task-{end}", "primary.#")
        print("listening", flush=True)
        for method, _, body in channel.consume(queue, auto_ack=True):
            status = json.loads(body)["status"]
            print(method.exchange.rpartition("/")[2], status["taskId"], status["taskQueueId"], flush=True)


if __name__ == "__main__":
    main()
