"""Shapes of everything that crosses a wire: HTTP bodies, AMQP payloads, ids and times.

This package is the single source of shapes. It imports pydantic and nothing of ours, so that a
listener, a worker and the server all speak of the same frozen values.
"""
