"""Every setting of the server: from the environment (``TASKBUS_…``) or a TOML file, checked at start."""

import os
import re
import socket
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import from_json
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from sqlalchemy.engine import make_url

from events.address import Address
from queue_service.core.access import STATIC_PREFIX, refuse_wild_scopes
from queue_service.core.errors import InputError
from queue_service.core.limits import Limits
from queue_service.notify_channels import NotifyChannel
from queue_service.store.database import normal_url
from schemas.ids import ACCESS_TOKEN_PATTERN, CLIENT_ID_PATTERN, PRINTABLE_PATTERN

CONFIG_FILE_VARIABLE = "TASKBUS_CONFIG"
MAX_AMQP_NAME = 255
LOOPBACK = ("127.0.0.1", "::1", "localhost")
EVERY_ADDRESS = ("0.0.0.0", "::", "")
MIN_SECRET_KEY = 32
_STATIC_ID = re.compile(f"(?={re.escape(STATIC_PREFIX)})(?:{CLIENT_ID_PATTERN})")
_ACCESS_TOKEN = re.compile(ACCESS_TOKEN_PATTERN)


def _static_id(value: str) -> str:
    if _STATIC_ID.fullmatch(value) is None:
        raise ValueError(f"expected a client id that begins with {STATIC_PREFIX}, as no call can change it")
    return value


def _access_token(value: SecretStr) -> SecretStr:
    if _ACCESS_TOKEN.fullmatch(value.get_secret_value()) is None:
        raise ValueError("expected 22 to 66 letters, digits, - or _")
    return value


class StaticClient(BaseModel):
    """A client that the settings define; members are named as in the API."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")

    client_id: Annotated[str, AfterValidator(_static_id)]
    access_token: Annotated[SecretStr, AfterValidator(_access_token)]
    description: str = ""
    scopes: tuple[Annotated[str, StringConstraints(pattern=f"^(?:{PRINTABLE_PATTERN})$")], ...]

    @field_validator("scopes")
    @classmethod
    def _narrow(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            refuse_wild_scopes(value)
        except InputError as error:
            raise ValueError(error.message) from None
        return value


class Settings(BaseSettings):
    """The service's settings. The environment wins over the TOML file that ``TASKBUS_CONFIG`` names."""

    model_config = SettingsConfigDict(env_prefix="TASKBUS_", frozen=True, extra="ignore")

    host: str = Field(default="127.0.0.1", description="Address the HTTP API listens on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port of the HTTP API; 0 takes a free one.")
    max_connections: int = Field(
        default=10_000,
        ge=1,
        description="HTTP connections per process; further ones are closed at once. No more than the system "
        "allows open files.",
    )
    idle_timeout: int = Field(
        default=75,
        ge=1,
        le=3600,
        description="Seconds after which an HTTP connection without a complete request is closed.",
    )
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Port at which this process tells Prometheus its metrics, and how it is; 0: none. "
        "Further API processes of `taskbus serve --processes` take the ports after it.",
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        description="Address of that port. Whoever reaches it may read the metrics, without credentials.",
    )
    root_url: str = Field(
        default="",
        description="URL under which clients reach the service; made from host and port when empty.",
    )
    database_url: str = Field(
        default="sqlite:///taskbus.sqlite",
        description="`sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST:PORT/NAME`.",
    )
    sqlite_synchronous: str = Field(
        default="NORMAL",
        pattern="^(NORMAL|FULL)$",
        description="`NORMAL` survives a crash of the program, `FULL` a power cut too, at a sync per commit.",
    )
    database_pool: int = Field(default=10, ge=2, le=100, description="PostgreSQL connections per process.")
    amqp_url: str = Field(
        default="",
        description="AMQP broker, `amqp://USER:PASSWORD@HOST:PORT/VHOST`; empty starts the built-in broker.",
    )
    amqp_host: str = Field(default="127.0.0.1", description="Address the built-in broker listens on.")
    amqp_port: int = Field(
        default=5672, ge=0, le=65535, description="Port of the built-in broker; 0 takes a free one."
    )
    amqp_journal: str = Field(
        default="auto",
        description="File in which the built-in broker keeps durable queues and their persistent messages. "
        "`auto`: beside the SQLite database, and none with PostgreSQL; empty or `none`: in memory only.",
    )
    worker_removal_exchanges: str = Field(
        default="",
        description="Exchanges, separated by commas, on which a worker-manager tells that a worker was "
        "stopped or removed; that worker's runs end as `worker-shutdown`. Empty: nobody is listened to.",
    )
    worker_removal_queue: str = Field(
        default="taskbus-worker-removal",
        min_length=1,
        max_length=200,
        description="Durable queue in which these messages wait; all processes share it.",
    )
    hook_denied_exchanges: str = Field(
        default="exchange/taskcluster-hooks/.*",
        description="Regular expressions, separated by commas; no hook may be bound to an exchange whose "
        "name begins with what one of them matches.",
    )
    relay_lease: float = Field(
        default=10,
        ge=1,
        le=300,
        description="Seconds after which another process publishes in place of one that was killed "
        "(PostgreSQL).",
    )
    outbox_alert_depth: int = Field(
        default=100_000,
        ge=1,
        description="When more events wait in the outbox, a warning in the log says what to do.",
    )
    outbox_alert_age: float = Field(
        default=300,
        ge=1,
        description="When an event has waited in the outbox for longer than these seconds, a warning tells.",
    )
    drain_seconds: float = Field(
        default=5,
        ge=0,
        le=300,
        description="Seconds that attached workers have to finish their items when the server stops.",
    )
    stream_kept_seconds: float = Field(
        default=600,
        ge=10,
        le=86400,
        description="Seconds for which events are kept for readers of streams who come again; only while "
        "somebody has streamed in that time.",
    )
    stream_kept_events: int = Field(
        default=100_000, ge=1000, description="Events that are kept for them at most."
    )
    stream_max_readers: int = Field(
        default=10_000,
        ge=1,
        description="Streams of events, and of jobs, that a process has open at most of each; further ones "
        "are answered 503.",
    )
    claim_timeout: float = Field(
        default=1200, gt=0, le=86400, description="Seconds a claim or reclaim lasts."
    )
    deadline_delay: float = Field(
        default=60, ge=0, le=86400, description="Seconds after its deadline at which a task is resolved."
    )
    max_task_deadline_days: float = Field(
        default=5, gt=0, le=3650, description="Days a deadline may lie ahead."
    )
    max_dependencies: int = Field(
        default=10_000, ge=0, le=10_000, description="Dependencies a task may list."
    )
    expiry_grace: float = Field(
        default=1800, ge=0, description="Seconds after `expires` at which a record is deleted."
    )
    long_poll: Annotated[float, Field(gt=0, le=25)] = Field(
        default=20, description="Seconds claimWork waits for work; clients give up after 30."
    )
    no_auth: bool = Field(
        default=False,
        description="Lets everybody do everything, without credentials; for this machine only.",
    )
    root_client_id: Annotated[str, AfterValidator(_static_id)] = Field(
        default="static/taskbus/root",
        description="Client that may do everything, and issues the credentials of claims.",
    )
    root_access_token: SecretStr = Field(
        default=SecretStr(""),
        description="Its access token, 22 to 66 letters, digits, `-` or `_`; made and printed at the first "
        "start when empty.",
    )
    static_clients: Annotated[tuple[StaticClient, ...], NoDecode] = Field(
        default=(),
        description="Further clients that no call can change: a list, as JSON, of objects with `clientId` "
        "(begins with `static/`), `accessToken`, `scopes` and `description`.",
    )
    notify_channels: Annotated[tuple[NotifyChannel, ...], NoDecode] = Field(
        default=(),
        description="Channels of the built-in jobs `notify.send` and `notify.test` beside `log` and `amqp`: "
        "a list, as JSON, of objects with `name` and `kind`: `webhook` with `url`, or `email` with `host`, "
        "`port`, `starttls`, `user`, `password`, `from` and `to`.",
    )
    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description="Any secret text of 32 characters or more; encrypts the access tokens in the database.",
    )
    secret_key_file: str = Field(
        default="",
        description="File that holds the secret key, made when it is missing. When empty: `FILE.key` beside "
        "an SQLite `FILE`; on PostgreSQL the key is derived from the root access token, and without one it "
        "is in `taskbus.key`.",
    )
    artifacts_directory: str = Field(
        default="",
        description="Directory for the bytes of artifacts; empty is `taskbus-artifacts` beside the SQLite "
        "file, or in the working directory.",
    )
    artifacts_max_bytes: int = Field(
        default=20 * 1024**3, ge=0, description="Bytes of the largest artifact that the directory takes."
    )
    artifacts_disk_reserve: int = Field(
        default=1024**3,
        ge=0,
        description="Bytes that artifacts leave free on the disk; uploads that do not fit are answered 507.",
    )
    artifacts_public_links: bool = Field(
        default=False,
        description="Links to artifacts named `public/…` do not expire (directory) or carry no signature "
        "(bucket).",
    )
    artifacts_s3_bucket: str = Field(
        default="", description="S3 bucket for the bytes of artifacts, in place of the directory."
    )
    artifacts_s3_endpoint: str = Field(
        default="", description="URL of the S3-compatible service; empty is AWS."
    )
    artifacts_s3_region: str = Field(default="us-east-1", min_length=1, description="Region of the bucket.")
    artifacts_s3_access_key: str = Field(
        default="", description="Key id for the bucket; empty takes what AWS programs find on the machine."
    )
    artifacts_s3_secret_key: SecretStr = Field(
        default=SecretStr(""), description="The secret that belongs to the key id."
    )
    artifacts_s3_prefix: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9._-]+/)*$",
        max_length=500,
        description="What every key in the bucket begins with, such as `taskbus/`.",
    )
    artifacts_s3_path_style: bool = Field(
        default=False, description="URLs name the bucket in their path, as many S3-compatible services need."
    )
    traces: str = Field(
        default="off",
        pattern="^(off|otlp)$",
        description="`otlp` exports OpenTelemetry traces, and keeps them going through messages and workers; "
        "needs the extra `traces`. `OTEL_EXPORTER_OTLP_ENDPOINT` and `OTEL_TRACES_SAMPLER` say where to, and "
        "of how many calls. `off` takes no notice of `traceparent`.",
    )
    log_format: str = Field(
        default="auto", pattern="^(auto|json|text)$", description="`json`, `text`, or `auto` by terminal."
    )
    log_level: str = Field(
        default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least level logged."
    )

    @field_validator("root_access_token")
    @classmethod
    def _root_token(cls, value: SecretStr) -> SecretStr:
        return _access_token(value) if value else value

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if value and len(value) < MIN_SECRET_KEY:
            raise ValueError(f"expected {MIN_SECRET_KEY} characters or more")
        return value

    @field_validator("static_clients", "notify_channels", mode="before")
    @classmethod
    def _of_json(cls, value: Any) -> Any:
        try:
            return from_json(value or "[]") if isinstance(value, str) else value
        except ValueError as error:
            raise ValueError(f"expected a JSON list of objects: {error}") from None

    @field_validator("static_clients")
    @classmethod
    def _different(cls, value: tuple[StaticClient, ...], info: ValidationInfo) -> tuple[StaticClient, ...]:
        ids = {client.client_id for client in value}
        if len(ids) != len(value) or info.data.get("root_client_id") in ids:
            raise ValueError("expected each clientId once, and not that of the root client")
        return value

    @field_validator("notify_channels")
    @classmethod
    def _named_apart(cls, value: tuple[NotifyChannel, ...]) -> tuple[NotifyChannel, ...]:
        if len({channel.name for channel in value}) != len(value):
            raise ValueError("expected each name once")
        return value

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        normal_url(value)
        return value

    @field_validator("amqp_url")
    @classmethod
    def _known_broker(cls, value: str) -> str:
        if value:
            try:
                Address.parse(value)
            except OSError as error:
                raise ValueError(f"its TLS files cannot be used: {error}") from None
        return value

    @field_validator("worker_removal_exchanges")
    @classmethod
    def _exchange_names(cls, value: str) -> str:
        for name in _listed(value):
            if not name.isascii() or not name.isprintable() or len(name) > MAX_AMQP_NAME:
                raise ValueError(f"expected names of exchanges, separated by commas, got {name!r}")
        return value

    @field_validator("hook_denied_exchanges")
    @classmethod
    def _patterns(cls, value: str) -> str:
        for pattern in _listed(value):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources: list[Any] = [init_settings, env_settings]
        if path := os.environ.get(CONFIG_FILE_VARIABLE):
            if not Path(path).is_file():
                raise FileNotFoundError(f"{CONFIG_FILE_VARIABLE} names {path}, which is not a file")
            try:
                sources.append(TomlConfigSettingsSource(settings_cls, toml_file=path))
            except tomllib.TOMLDecodeError as error:
                raise ValueError(f"{CONFIG_FILE_VARIABLE}: {path} is not TOML: {error}") from None
        return tuple(sources)

    @property
    def loopback_only(self) -> bool:
        return self.host in LOOPBACK

    @property
    def reached_at(self) -> str:
        """The root URL of this service for its clients, without a final slash."""
        if self.root_url:
            return self.root_url.rstrip("/")
        host = socket.gethostname() if self.host in EVERY_ADDRESS else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def artifacts_path(self) -> Path:
        """The directory for the bytes of artifacts."""
        if self.artifacts_directory:
            return Path(self.artifacts_directory)
        database = make_url(normal_url(self.database_url))
        file = database.database if database.get_backend_name() == "sqlite" else None
        beside = Path(file).parent if file and file != ":memory:" else Path()
        return beside / "taskbus-artifacts"

    @property
    def amqp_journal_file(self) -> Path | None:
        """Where the built-in broker keeps its journal; None keeps none."""
        if self.amqp_journal != "auto":
            return None if self.amqp_journal in ("", "none") else Path(self.amqp_journal)
        url = make_url(normal_url(self.database_url))
        if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
            return None
        return Path(f"{url.database}.amqp")

    @property
    def removal_exchanges(self) -> tuple[str, ...]:
        """The names in ``worker_removal_exchanges``."""
        return _listed(self.worker_removal_exchanges)

    @property
    def denied_exchanges(self) -> tuple[re.Pattern[str], ...]:
        """The patterns in ``hook_denied_exchanges``."""
        return tuple(re.compile(pattern) for pattern in _listed(self.hook_denied_exchanges))

    def limits(self) -> Limits:
        """The numbers of the rules."""
        return Limits(
            claim_timeout=timedelta(seconds=self.claim_timeout),
            max_deadline=timedelta(days=self.max_task_deadline_days),
            deadline_delay=timedelta(seconds=self.deadline_delay),
            max_dependencies=self.max_dependencies,
            expiry_grace=timedelta(seconds=self.expiry_grace),
        )


def _listed(text: str) -> tuple[str, ...]:
    """The parts of a list that is separated by commas, each once."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
