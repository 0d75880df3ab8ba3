"""Background work: each loop does its work in ``run_once`` and sleeps until something is due."""
