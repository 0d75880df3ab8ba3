"""Typed jobs: tasks with a registered type, checked parameters, steps and a stream of events."""
