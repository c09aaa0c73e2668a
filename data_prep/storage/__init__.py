"""Where samples lie: image trees, tar files, spans of files."""
