"""The handlers of the streams of jobs."""

from typing import Final

from queue_service.api.endpoint import Call
from queue_service.api.streaming import Stream, last_event_id
from queue_service.core.errors import InvalidRequestArguments
from queue_service.features.jobs.stream import JobStreams
from queue_service.features.jobs.stream_states import StateStreams, Wanted

KINDS: Final = ("state", "step", "progress", "log")


class JobStreamsApi:
    """Handlers with the streams of this process."""

    def __init__(self, jobs: JobStreams, states: StateStreams) -> None:
        self._jobs = jobs
        self._states = states

    async def stop(self) -> None:
        """End all streams; their readers come again, to another process."""
        await self._jobs.stop()
        await self._states.stop()

    async def stream_job(self, call: Call[None]) -> Stream | None:
        kinds = call.query["types"].split(",") if "types" in call.query else KINDS
        if wrong := sorted(set(kinds).difference(KINDS)):
            raise InvalidRequestArguments(
                f"Invalid query-string parameters:\n * `types` has `{wrong[0]}`; expected {', '.join(KINDS)}"
            )
        seen = last_event_id(call.headers, call.query)
        return await self._jobs.open(call.params["jobId"], seen, kinds, call.permit.expires)

    async def stream_jobs(self, call: Call[None]) -> Stream:
        wanted = Wanted(call.query.get("type"), call.query.get("state"))
        return await self._states.open(wanted, last_event_id(call.headers, call.query), call.permit.expires)
