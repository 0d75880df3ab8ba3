"""PostgreSQL and RabbitMQ in containers, where a Docker engine answers."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers.probes import ANSWER_SECONDS, NotUsable


@contextmanager
def postgres_container(*, fsync: bool) -> Iterator[str]:
    """A fresh PostgreSQL 16."""
    _require_docker()
    from testcontainers.postgres import PostgresContainer

    container = PostgresContainer("postgres:16", username="postgres", password="postgres", dbname="postgres")
    if not fsync:
        container = container.with_command("postgres -c fsync=off")
    with container as server:
        yield server.get_connection_url(driver=None)


@contextmanager
def rabbitmq_container() -> Iterator[str]:
    """A fresh RabbitMQ 3."""
    _require_docker()
    from testcontainers.rabbitmq import RabbitMqContainer

    with RabbitMqContainer("rabbitmq:3") as server:
        yield f"amqp://guest:guest@{server.get_container_host_ip()}:{server.get_exposed_port(5672)}/"


def _require_docker() -> None:
    import docker  # type: ignore[import-untyped]

    try:
        docker.from_env(timeout=int(ANSWER_SECONDS)).ping()
    except docker.errors.DockerException as error:
        raise NotUsable(f"no Docker engine answers: {error}") from None
