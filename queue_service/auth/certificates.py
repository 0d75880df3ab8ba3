"""Certificates of temporary credentials (``auth.md`` 2)."""
