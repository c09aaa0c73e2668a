"""A bound on the memory that a step may take, where a file of others may ask for more than the machine has."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATUS = Path("/proc/self/status")


@contextmanager
def memory_bound(most: int) -> Iterator[None]:
    """Let this process take at most ``most`` bytes more than it has; beyond that it is given none.

    Python and Arrow raise MemoryError then, other libraries may end the process. Only Linux tells how much a process
    has: elsewhere there is no bound.
    """
    if not STATUS.exists():
        yield
        return
    has = next(int(line.split()[1]) << 10 for line in STATUS.read_text().splitlines() if line.startswith("VmData"))
    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (before, hard, has + most) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))
