"""One process of the service: the real parts, put together as ``queue_service/service.py`` does."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, cast

from queue_service.api.attempt_api import AttemptApi
from queue_service.api.controls_api import ControlsApi
from queue_service.api.queue import QueueApi
from queue_service.api.search_api import SearchApi
from queue_service.auth.temporary import Issuer
from queue_service.clock import Clock
from queue_service.core.limits import Limits
from queue_service.features.firing.task_maker import TaskMaker
from queue_service.features.kv.api import KvApi
from queue_service.features.kv.loops import KvLoops
from queue_service.features.kv.pop_desk import PopDesk
from queue_service.features.kv.workset_api import WorksetApi
from queue_service.features.triggers.api import TriggersApi
from queue_service.features.triggers.clock import Clock as TriggerClock
from queue_service.features.triggers.firing import TriggerFiring
from queue_service.loops.outbox_relay import OutboxRelay
from queue_service.loops.schedule import Loops, idle
from queue_service.service import FOLLOWERS, SWEEPS
from queue_service.store.database import Database
from queue_service.store.signals import OutboxFilled, Signal
from tests.memory_blobs import MemoryBlobs
from tests.simulation.broker import SimulatedBroker, SimulatedPublisher
from tests.simulation.calls import Reply, Request, answer
from tests.simulation.disk import Disk, SimulatedDriver, engine
from tests.simulation.scheduler import Scheduler, SimulatedLoop

ISSUER: Final = Issuer("static/taskbus/root", "vuOoBTLkTDKsiDVZ2BuxUQ3ReqAqTXmzLAr1nOm6RQWA")
LIMITS: Final = Limits(
    claim_timeout=timedelta(seconds=60),
    deadline_delay=timedelta(seconds=10),
    expiry_grace=timedelta(seconds=120),
)
LONG_POLL: Final = 20.0


class Server:
    """A process. ``kill`` takes everything from it but what it has committed.

    ``jitter`` gives numbers between 0 and 1, ``new_id`` ids for tasks of triggers. ``tell_others`` passes its
    signals on to the processes that share the database; None when it is alone.
    """

    def __init__(
        self,
        name: str,
        scheduler: Scheduler,
        disk: Disk,
        broker: SimulatedBroker,
        clock: Clock,
        unexpected: Callable[[BaseException], None],
        jitter: Callable[[], float],
        new_id: Callable[[], str],
        tell_others: "Callable[[Server, Signal], None] | None" = None,
    ) -> None:
        self.name = name
        self.loop = SimulatedLoop(scheduler)
        self._disk = disk
        self._broker = broker
        self._clock = clock
        self._unexpected = unexpected
        self._jitter = jitter
        self._new_id = new_id
        self._tell_others = tell_others
        self._database: Database | None = None
        self._hearing = False
        self.loop.call_soon(self._start)

    def _start(self) -> None:
        database = self._database = Database(engine(), SimulatedDriver(self._disk, self), self._clock)
        database.is_sqlite = self._tell_others is None  # what is shared is treated as PostgreSQL
        api = QueueApi(database, self._clock, LIMITS, ISSUER, long_poll=LONG_POLL, jitter=self._jitter)
        kv_loops = KvLoops(database)
        no_sandbox = cast(Any, None)  # what there is to render is plain
        firing = TriggerFiring(database, TaskMaker(database, LIMITS, no_sandbox, unrestricted=True))
        self.handlers = (
            api,
            AttemptApi(database, api.report),
            ControlsApi(database, self._clock, api.sightings),
            SearchApi(database),
            KvApi(database, self._clock),
            WorksetApi(database, self._clock, PopDesk(database, kv_loops.deaths.nudge_at)),
            TriggersApi(database, firing, no_sandbox, self._new_id, self._jitter),
        )
        loops = Loops(database, LIMITS, MemoryBlobs(), followers=FOLLOWERS, sweeps=SWEEPS)
        publisher = SimulatedPublisher(self._broker, self.loop)
        relay = OutboxRelay(database, cast(Any, publisher), self.name, idle=idle(database, 1))

        def nudge_relay(signal: Signal) -> None:
            if isinstance(signal, OutboxFilled):
                relay.nudge()

        def pass_on(signal: Signal) -> None:
            if self._tell_others is not None and not self._hearing:
                self._tell_others(self, signal)

        database.subscribe(pass_on)
        database.subscribe(nudge_relay)
        database.subscribe(loops.on_signal)
        relay.start()
        loops.start()
        for loop in (*kv_loops.every, TriggerClock(database, firing, self._new_id).loop):
            loop.start()

    def hear(self, signal: Signal) -> None:
        """A signal of another process arrives."""
        self.loop.call_soon(self._hear, signal)

    def _hear(self, signal: Signal) -> None:
        assert self._database is not None
        self._hearing = True
        try:
            self._database.announce((signal,))
        finally:
            self._hearing = False

    @property
    def dead(self) -> bool:
        return self.loop.killed

    def kill(self) -> None:
        self.loop.killed = True
        self._disk.forget(self)
        self._broker.cut_links_of(self.loop)
        self.loop.kill()

    def call(self, request: Request, gone: Callable[[], Any], answered: Callable[[Reply], None]) -> None:
        """Answer a call; ``answered`` is told, unless the process dies first."""
        self.loop.call_soon(lambda: self.loop.create_task(self._answer(request, gone, answered)))

    async def _answer(
        self, request: Request, gone: Callable[[], Any], answered: Callable[[Reply], None]
    ) -> None:
        try:
            reply = await answer(self.handlers, request, gone)
        except Exception as error:
            self._unexpected(error)
        else:
            answered(reply)
