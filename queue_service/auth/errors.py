"""Why credentials are not valid."""


class NotAuthentic(Exception):
    """The credentials of a request are not valid; the message says why and never holds a secret."""
