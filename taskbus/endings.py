"""What handlers raise to end an attempt in another way than by an error."""


class EndedByHandler(Exception):
    """Base of these."""


class JobSnoozed(EndedByHandler):
    """The attempt is put off by so many seconds."""

    def __init__(self, delay: float) -> None:
        super().__init__(f"snoozed for {delay:g} s")
        self.delay = delay


class JobCancelled(EndedByHandler):
    """The job is not to be done at all."""
