"""A deterministic simulation: the real service in a simulated world, judged by a model."""
