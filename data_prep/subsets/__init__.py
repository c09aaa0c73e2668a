"""Datasets made of parts of another."""
