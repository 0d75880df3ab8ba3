"""Credentials. Nothing in core, store or operations knows of this package."""
