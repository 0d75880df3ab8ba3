"""The rules: pure functions over frozen values. No clock, no I/O, no database, no HTTP."""
