"""HTTP: endpoints as declarations, and one pipeline that runs them all in the wire's order of checks."""
