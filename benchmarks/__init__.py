"""How fast Taskbus is: real servers, real processes, every message counted. ``python -m benchmarks``."""
