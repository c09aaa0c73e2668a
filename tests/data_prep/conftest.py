import pytest


@pytest.fixture(params=["plain", "with space", 'quote\'s "two"', "line\nbreak", "ünïcode"])
def odd_path(request, tmp_path):
    path = tmp_path / request.param
    path.mkdir()
    return path
