"""What ``notify.send`` does: an event told by a channel (``seed-systems.md`` B.9)."""

import asyncio
import json
import smtplib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Final

import aiohttp
import structlog

from queue_service.notify_channels import ALWAYS_THERE, EmailChannel, NotifyChannel, WebhookChannel
from queue_service.store import outbox
from queue_service.store.database import Database, Tx
from queue_service.store.outbox import Outgoing
from schemas.events import UserMessage
from schemas.ids import slugid

logger = structlog.get_logger(__name__)

SECONDS: Final = 20.0
"""For a webhook or a mail server to take a notification."""
TEST_EVENT: Final = "This is a test: the channel works."
TAG: Final = "notification"


class NotSent(Exception):
    """The channel did not take the notification; the text is for people, and tells no secret."""


@dataclass(frozen=True, slots=True)
class Notification:
    """An event for somebody. ``job_id`` is that of the job that tells it."""

    user_id: str
    env_id: str
    channel: str
    event: Any
    job_id: str
    run_id: int


class Notifier:
    """Tells notifications by the channels of the settings, the log and the bus."""

    def __init__(self, database: Database, channels: Iterable[NotifyChannel]) -> None:
        self._database = database
        self._channels: Mapping[str, NotifyChannel] = {channel.name: channel for channel in channels}

    async def send(self, notification: Notification) -> None:
        """Tell it. Raises NotSent."""
        match self._channels.get(notification.channel):
            case WebhookChannel() as channel:
                await _post(channel, notification)
            case EmailChannel() as channel:
                await asyncio.to_thread(_mail, channel, notification)
            case None if notification.channel == "log":
                facts = _facts(notification)
                logger.warning("notification", told=facts.pop("event"), **facts)
            case None if notification.channel == "amqp":
                await self._publish(notification)
            case None:
                known = ", ".join([*ALWAYS_THERE, *self._channels])
                raise NotSent(f"there is no channel `{notification.channel}`; there are {known}")

    async def _publish(self, notification: Notification) -> None:
        async def script(tx: Tx) -> None:
            message = UserMessage.trusted(
                message_id=slugid(),
                source="job",
                tag=TAG,
                level="alert",
                job_id=notification.job_id,
                run_id=notification.run_id,
                client_id="",
                payload=_facts(notification),
                sent=tx.now,
            )
            await outbox.record(tx, [Outgoing(message, (), (f"user:{notification.job_id}",))])

        await self._database.write(script)


async def _post(channel: WebhookChannel, notification: Notification) -> None:
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(
                channel.url.get_secret_value(), json=_facts(notification), allow_redirects=False
            ) as reply,
        ):
            if reply.status >= 300:
                raise NotSent(f"the webhook of `{channel.name}` answered {reply.status}")
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        # Its text may tell the URL, which may be a secret.
        raise NotSent(f"the webhook of `{channel.name}` cannot be reached: {type(error).__name__}") from None


def _mail(channel: EmailChannel, notification: Notification) -> None:
    message = EmailMessage()
    try:
        message["From"] = channel.sender
        message["To"] = ", ".join(_filled(address, notification) for address in channel.to)
        message["Subject"] = f"Notification for {notification.env_id}"
    except ValueError as error:  # a line break in a parameter
        raise NotSent(f"no mail can be made of it: {error}") from None
    event = notification.event
    message.set_content(event if isinstance(event, str) else json.dumps(event, indent=2, ensure_ascii=False))
    try:
        with smtplib.SMTP(channel.host, channel.port, timeout=SECONDS) as server:
            if channel.starttls:
                server.starttls()
            if channel.user:
                server.login(channel.user, channel.password.get_secret_value())
            server.send_message(message)
    except (smtplib.SMTPException, OSError) as error:
        raise NotSent(f"the mail server of `{channel.name}` did not take it: {error}") from None


def _filled(address: str, notification: Notification) -> str:
    return address.replace("{userId}", notification.user_id).replace("{envId}", notification.env_id)


def _facts(notification: Notification) -> dict[str, Any]:
    return {
        "userId": notification.user_id,
        "envId": notification.env_id,
        "event": notification.event,
        "jobId": notification.job_id,
    }
