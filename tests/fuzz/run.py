"""One run over a service: so many requests, each judged; the first violation ends it."""

import itertools
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from schemathesis import Case

from tests.fuzz.caller import Caller, Reply, Request
from tests.fuzz.cases import Mixer, Target, each, targets
from tests.fuzz.judge import Violation, judge, judge_blob
from tests.fuzz.known import Known

PER_ROUND: Final = 8
"""Cases of one operation, fitting or not, before the next one's turn."""
BLOBS_EVERY: Final = 8
"""Operations between two looks at the bytes of artifacts."""
TELL_EVERY: Final = 1000
"""Requests between two words of how far it is."""


class Enough(Exception):
    """All requests have been sent."""


@dataclass
class Report:
    """What was sent and answered."""

    seed: int
    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    """Requests that succeeded, by operation."""

    def __str__(self) -> str:
        classes: Counter[str] = Counter()
        for status, number in self.statuses.items():
            classes[f"{status // 100}xx"] += number
        by_class = ", ".join(f"{kind} {number}" for kind, number in sorted(classes.items()))
        by_status = ", ".join(f"{status}: {number}" for status, number in sorted(self.statuses.items()))
        return (
            f"{self.requests} requests: {by_class} ({by_status}); "
            f"{len(self.reached)} operations succeeded at least once; seed {self.seed}"
        )


class Run:
    """Sends ``number`` requests as ``caller``.

    ``furnish`` makes things to ask for, before each round. Without ``blobs``, signed URLs are left alone.
    ``tell`` is called now and then with what was done so far.
    """

    def __init__(
        self,
        caller: Caller,
        number: int,
        seed: int,
        furnish: Callable[[Known], None],
        *,
        blobs: bool = True,
        tell: Callable[[Report], None] = lambda report: None,
    ) -> None:
        self._caller = caller
        self._number = number
        self._known = Known(seed)
        self._mixer = Mixer(self._known, seed)
        self._furnish = furnish
        self._with_blobs = blobs
        self._tell = tell
        self.report = Report(seed)

    def run(self, document: dict[str, Any], per_round: int = PER_ROUND) -> Report:
        """``document`` is the service's OpenAPI document. Raises Violation that tells how to repeat it."""
        with suppress(Enough):
            self._rounds(targets(document), per_round)
        return self.report

    def _rounds(self, every: list[Target], per_round: int) -> None:
        for round_ in itertools.count():
            self._furnish(self._known)
            for place, target in enumerate(every):
                case_seed = hash((self.report.seed, round_, place))
                each(target, per_round, case_seed, partial(self._one, target))
                if self._with_blobs and place % BLOBS_EVERY == 0:
                    self._blobs()

    def _one(self, target: Target, case: Case) -> None:
        request = self._mixer.request(case)
        reply = self._sent(request)
        try:
            judge(case, request, reply, self._caller.root_url)
        except Violation as violation:
            raise self._described(violation, request, reply, target.name) from None
        if reply.status < 400:
            self.report.reached[target.name] += 1
            is_json = reply.headers.get("content-type", [""])[0].startswith("application/json")
            self._known.learn(reply.json() if reply.body and is_json else {})

    def _blobs(self) -> None:
        for request in self._mixer.blobs():
            reply = self._sent(request)
            try:
                judge_blob(request, reply)
            except Violation as violation:
                raise self._described(violation, request, reply, "blobs") from None

    def _sent(self, request: Request) -> Reply:
        if self.report.requests >= self._number:
            raise Enough
        try:
            reply = self._caller.send(request)
        except OSError as error:
            raise Violation(
                f"no answer ({error}) to request {self.report.requests}, seed {self.report.seed}; to repeat "
                f"it, signed by root:\n{request.as_curl(self._caller.root_url)}"
            ) from None
        self.report.requests += 1
        self.report.statuses[reply.status] += 1
        if self.report.requests % TELL_EVERY == 0:
            self._tell(self.report)
        return reply

    def _described(self, violation: Violation, request: Request, reply: Reply, name: str) -> Violation:
        return Violation(
            f"{name}: {violation}\nreply {reply.status}: {reply.body[:3000]!r}\n"
            f"request {self.report.requests}, seed {self.report.seed}; to repeat it, signed by root:\n"
            f"{request.as_curl(self._caller.root_url)}"
        )
