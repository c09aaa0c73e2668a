import pytest


@pytest.fixture(scope="session")
def ffcv():
    """FFCV, whose import compiles for seconds."""
    import ffcv

    return ffcv


@pytest.fixture(params=["plain", "with space", 'quote\'s "two"', "line\nbreak", "ünïcode"])
def odd_path(request, tmp_path):
    path = tmp_path / request.param
    path.mkdir()
    return path
