"""The image file: FFCV's ``.beton`` format, and what a JPEG is, once for writer, verifier and loader."""
