"""One module for each layout of images that can be read."""
