"""Hooks: tasks that are created by a call, a message or the clock (``hooks-and-triggers.md``)."""
