"""Statistics of rankings: pure functions on arrays, no files, no printing."""
