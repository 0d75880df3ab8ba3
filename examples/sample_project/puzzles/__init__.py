"""Four classic puzzles, solved."""
