"""Fixtures of the rooms that are attacked."""

from tests.training.conftest import data, declare, study

__all__ = ["data", "declare", "study"]
