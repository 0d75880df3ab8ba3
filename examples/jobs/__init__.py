"""Jobs: a program that inserts them, and a worker that does them."""
