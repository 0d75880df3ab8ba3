"""Hawk: signatures of requests and signed URLs (``auth.md`` 1)."""
