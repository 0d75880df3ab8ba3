"""Capabilities on top of the queue, one folder each. The core knows none of them."""
