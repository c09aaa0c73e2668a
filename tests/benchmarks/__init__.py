"""The toolkit against other libraries, one module a benchmark; `python -m toolkit.bench NAME` finds them by name."""
