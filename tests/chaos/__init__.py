"""Fault tests on the real parts: they are hurt under load, and judged from outside."""
