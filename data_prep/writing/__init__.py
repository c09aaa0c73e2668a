"""From samples to a dataset's folder."""
