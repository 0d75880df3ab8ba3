"""Private PostgreSQL and RabbitMQ servers from programs on this machine: on loopback, leaving no trace."""

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.servers.probes import NotUsable, probe_postgres, probe_rabbitmq
from tests.servers.processes import Programs, Workspace, free_port, workspace


@dataclass(frozen=True)
class Prepared:
    """A server on data of its own that can be started, once it has ended also again."""

    url: str
    place: Workspace
    command: Sequence[str | Path]
    stop: signal.Signals
    probe: Callable[[], None]
    """Raises NotUsable while the server does not answer."""
    environment: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The URL of the server, which answers."""
        with self.process() as process:
            self.place.await_answer(process, self.probe)
            yield self.url

    @contextmanager
    def process(self) -> Iterator[subprocess.Popen[bytes]]:
        """The server, just started."""
        with self.place.serving(self.command, stop=self.stop, environment=dict(self.environment)) as process:
            yield process

    def administer(self, command: Sequence[str | Path]) -> None:
        """Run a program of the server's beside it; raises NotUsable when it fails."""
        self.place.run(command, environment=dict(self.environment))


@contextmanager
def started_postgres(programs: Programs, *, fsync: bool) -> Iterator[str]:
    """A fresh PostgreSQL from these programs; without ``fsync`` it is fast and not durable."""
    with prepared_postgres(programs, fsync=fsync) as server, server.serving() as url:
        yield url


@contextmanager
def started_rabbitmq(script: Path) -> Iterator[str]:
    """A fresh RabbitMQ without plugins, with a name server (epmd), a cookie and a node name of its own."""
    with prepared_rabbitmq(script) as server, server.serving() as url:
        yield url


@contextmanager
def prepared_postgres(programs: Programs, *, fsync: bool) -> Iterator[Prepared]:
    """The same, not started yet."""
    with workspace("postgres", "nobody") as place:
        data, port = place.path / "data", free_port()
        who = ["--username=postgres", "--auth=trust"]
        binaries = place.reachable(programs)
        place.run([binaries / "initdb", "-D", data, *who, "--encoding=UTF8", "--locale=C", "--no-sync"])
        where = ["--listen_addresses=127.0.0.1", f"--port={port}", f"--unix_socket_directories={place.path}"]
        fast = [] if fsync else ["--fsync=off", "--synchronous_commit=off", "--full_page_writes=off"]
        server: list[str | Path] = [binaries / "postgres", "-D", data, "--max_connections=200"]
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        # SIGINT is the fast shutdown: clients are cut off instead of waited for.
        probe = partial(probe_postgres, url, fsync=fsync)
        yield Prepared(url, place, [*server, *where, *fast], signal.SIGINT, probe)


@contextmanager
def prepared_rabbitmq(script: Path) -> Iterator[Prepared]:
    """The same, not started yet, but for its name server."""
    epmd = shutil.which("epmd")
    if epmd is None:
        raise NotUsable("Erlang's epmd is not on the PATH")
    with workspace("rabbitmq", "nobody") as place:
        port, epmd_port = free_port(), free_port()
        plugins, config = place.path / "enabled_plugins", place.path / "rabbitmq.conf"
        plugins.write_text("[].\n")
        config.write_text(f"listeners.tcp.local = 127.0.0.1:{port}\n")
        environment = {
            "HOME": str(place.path),  # where Erlang keeps the cookie
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(epmd_port),
            "RABBITMQ_NODENAME": f"taskbus-{port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(place.path / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(place.path / "config"),
            "RABBITMQ_SCHEMA_DIR": str(place.path / "schema"),
            "RABBITMQ_MNESIA_BASE": str(place.path / "mnesia"),
            "RABBITMQ_LOG_BASE": str(place.path / "log"),
            "RABBITMQ_PID_FILE": str(place.path / "pid"),
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the server instead of minding it
        }
        url = f"amqp://guest:guest@127.0.0.1:{port}/"
        with place.serving([epmd, "-port", str(epmd_port), "-address", "127.0.0.1"], stop=signal.SIGKILL):
            yield Prepared(url, place, [script], signal.SIGTERM, partial(probe_rabbitmq, url), environment)
