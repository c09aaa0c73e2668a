"""The suite itself: what must stay with one worker does."""

import os

import pytest


@pytest.mark.slow  # `make test-fast` shares single tests out: no file of it has a cluster
def test_a_worker_gets_whole_groups(request: pytest.FixtureRequest) -> None:
    """A pytest that pytest-xdist cannot group would make the fixtures of a file in every worker."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@test_workers.py")
