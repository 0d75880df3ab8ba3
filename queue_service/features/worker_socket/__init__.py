"""Workers that attach over a WebSocket and are handed work that fits them (``seed-systems.md`` part A)."""
