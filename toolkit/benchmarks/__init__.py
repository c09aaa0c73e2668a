"""What measures a user's own machine, one module a benchmark; `python -m toolkit.bench NAME` calls its ``main``."""
