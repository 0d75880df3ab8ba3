"""The channels of settings by which built-in jobs notify people: webhooks and e-mail."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints
from pydantic.alias_generators import to_camel

ALWAYS_THERE: Final = ("log", "amqp")
"""Channels that need no setting: a line of the log, and a user message on the bus."""


def _free(name: str) -> str:
    if name in ALWAYS_THERE:
        raise ValueError(f"`{name}` is a channel that is always there")
    return name


def _web(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("http://", "https://")):
        raise ValueError("expected a URL that begins with http:// or https://")
    return url


class _Channel(BaseModel):
    """What every channel has; members are named as in the API."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$"), AfterValidator(_free)]


class WebhookChannel(_Channel):
    """A POST of JSON to a URL, which may be a secret."""

    kind: Literal["webhook"]
    url: Annotated[SecretStr, AfterValidator(_web)]


class EmailChannel(_Channel):
    """A mail by an SMTP server. In ``to``, ``{userId}`` and ``{envId}`` stand for those of the job."""

    kind: Literal["email"]
    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 25
    starttls: bool = False
    user: str = ""
    password: SecretStr = SecretStr("")
    sender: Annotated[str, Field(alias="from")]
    to: Annotated[tuple[str, ...], Field(min_length=1, max_length=50)]


NotifyChannel = Annotated[WebhookChannel | EmailChannel, Field(discriminator="kind")]
