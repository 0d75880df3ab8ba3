"""What can go wrong on the bus, as exceptions a listener or publisher may catch."""


class EventsError(Exception):
    """Base of every error of this package that is not a wrong argument."""


class BrokerUnavailable(EventsError):
    """The AMQP broker cannot be reached, refused us, or the connection to it is gone."""


class UndecodableMessage(EventsError):
    """The body is not what its exchange declares, or not what a handler expects of it.

    The text names every violation.
    """
