"""Programs to read and run; README.md lists them."""
