"""``python -m taskbus`` is the command line."""

from taskbus.cli import main

main()
