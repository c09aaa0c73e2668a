"""The suite itself: what must stay with one worker does."""

import os

import pytest


def test_a_worker_gets_whole_groups(request: pytest.FixtureRequest) -> None:
    """A pytest that pytest-xdist cannot group would run two tests of the one cluster at once."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@test_workers.py")
