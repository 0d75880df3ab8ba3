"""Start the named servers, print the settings that point to them, and keep them until SIGINT or SIGTERM."""

import argparse
import signal
import sys
from contextlib import ExitStack

from tests.servers import AMQP_VARIABLE, POSTGRES_VARIABLE, Unavailable, postgres, rabbitmq


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    parser.add_argument("services", nargs="+", choices=["postgres", "rabbitmq"])
    parser.add_argument("--fsync", action="store_true", help="PostgreSQL writes through to the disk")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with ExitStack() as held:
            if "postgres" in wanted.services:
                print(f"{POSTGRES_VARIABLE}={held.enter_context(postgres(fsync=wanted.fsync))}", flush=True)
            if "rabbitmq" in wanted.services:
                print(f"{AMQP_VARIABLE}={held.enter_context(rabbitmq())}", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        pass
    except (Unavailable, ValueError) as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
