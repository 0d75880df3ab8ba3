"""A session without a socket: a test gives it frames and reads what it answers."""

from __future__ import annotations

from typing import Any

from pamqp import base, body, frame, header, heartbeat
from pamqp.commands import Basic, Channel, Connection

from events.broker.session import Session
from events.broker.topology import Topology
from tests.broker.peer import CAPABILITIES


class Dialogue:
    """`heard` is everything the session has said so far, as pairs of channel and frame."""

    def __init__(self, topology: Topology | None = None, **tuning: int) -> None:
        self.topology = topology or Topology()
        self.notified = 0
        self.session = Session(self.topology, username="guest", password="guest", notify=self._notify)
        self.heard: list[tuple[int, frame.FrameTypes]] = []
        self.said_bytes = 0
        self._tuning = {"channel_max": 0, "frame_max": 0, "heartbeat": 0, **tuning}

    def _notify(self) -> None:
        self.notified += 1

    def opened(self) -> Dialogue:
        """Shake hands and open channel 1."""
        self.session.receive(header.ProtocolHeader().marshal())
        self.say(Connection.StartOk({"capabilities": CAPABILITIES}, "PLAIN", "\0guest\0guest"), channel=0)
        self.say(Connection.TuneOk(**self._tuning), Connection.Open(), channel=0)
        self.say(Channel.Open())
        self.listen()
        self.heard.clear()
        return self

    def say(self, *methods: base.Frame, channel: int = 1) -> None:
        for method in methods:
            self.session.receive(frame.marshal(method, channel))

    def publish(self, data: bytes, key: str, exchange: str = "", channel: int = 1, **properties: Any) -> None:
        self.session.receive(published(data, key, exchange, channel, **properties))

    def listen(self) -> list[tuple[int, frame.FrameTypes]]:
        """Take the output, as a socket that is always ready does; what is new in it."""
        output = self.session.take_output()
        output = self.session.take_urgent() + output
        self.session.output_taken(0, paused=False)
        return self.hear(output)

    def hear(self, output: bytes) -> list[tuple[int, frame.FrameTypes]]:
        self.said_bytes += len(output)
        news = []
        while output:
            used, channel, item = frame.unmarshal(output)
            news.append((channel, item))
            output = output[used:]
        self.heard += news
        return news

    def names(self) -> list[str]:
        """What the session says now, by name."""
        return [item.name for _, item in self.listen()]


def published(data: bytes, key: str, exchange: str = "", channel: int = 1, **properties: Any) -> bytes:
    """The frames of one message."""
    parts: list[frame.FrameTypes] = [
        Basic.Publish(exchange=exchange, routing_key=key),
        header.ContentHeader(0, len(data), Basic.Properties(**properties)),
    ]
    parts += [body.ContentBody(data[at : at + 131_064]) for at in range(0, len(data), 131_064)]
    return b"".join(frame.marshal(part, channel) for part in parts)


HEARTBEAT = heartbeat.Heartbeat().marshal()
