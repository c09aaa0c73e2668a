"""Fixtures of the rooms that planning stands on."""

from tests.executors.conftest import data

__all__ = ["data"]
