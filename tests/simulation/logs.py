"""What the service logs in a simulation: an error is a violation, all else is silent."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog


@contextmanager
def watched(failed: Callable[[str], None]) -> Iterator[None]:
    """Tell ``failed`` of every error that is logged."""

    def sink(logger: object, method: str, event: dict[str, Any]) -> Any:
        if method in ("error", "exception", "critical"):
            failed(f"{event.get('event')}: {sys.exc_info()[1]!r}")
        raise structlog.DropEvent

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            failed(f"{record.getMessage()}: {record.exc_info and record.exc_info[1]!r}")

    before = structlog.get_config()
    logger, handler = logging.getLogger("queue_service"), Handler(logging.ERROR)
    propagates = logger.propagate
    structlog.configure(processors=[sink], cache_logger_on_first_use=False)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        structlog.configure(**before)
        logger.removeHandler(handler)
        logger.propagate = propagates
