"""An AMQP 0-9-1 broker in this process, for one machine: a laptop, tests, a small installation.

Unmodified programs (aio-pika, pika, kombu, npm amqplib) work against it as they do against RabbitMQ, whose
behaviour it follows: one test suite runs on both. Queues and their messages live in memory; given a journal,
what is durable is in that file too, and survives the end of the process, kill -9 included.

Refused by name with 540 NOT_IMPLEMENTED: headers exchanges, transactions, streams, priority queues, single
active consumers, `immediate`. Taken as hints and ignored: x-priority of a consumer, x-queue-mode. A quorum
queue is accepted as a durable queue that counts deliveries; it is not replicated. There is one virtual host.

Needs pamqp and the standard library, nothing else.
"""

from events.broker.journal_file import JournalUnusable
from events.broker.limits import BrokerLimits
from events.broker.server import Broker, PortInUse
from events.broker.topology import QueueInfo

__all__ = ["Broker", "BrokerLimits", "JournalUnusable", "PortInUse", "QueueInfo"]
