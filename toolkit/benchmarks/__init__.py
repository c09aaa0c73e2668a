"""One module for each benchmark, with ``main(argv)``; `toolkit.bench` finds them by name."""
