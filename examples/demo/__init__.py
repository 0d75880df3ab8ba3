"""``make demo``: a real task graph on two workers, one of which is killed on the way. See __main__.py."""
