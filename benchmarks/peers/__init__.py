"""Other Python job queues and ours, in one run: the same no-op jobs, inserted and worked on at once."""

from benchmarks.peers.comparison import run

__all__ = ["run"]
