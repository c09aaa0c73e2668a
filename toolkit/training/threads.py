"""How many cores are this process's own, and how it uses them."""

import os


def allocation() -> int:
    """Cores this process may use: Slurm's ``--cpus-per-task`` where it is set, else what the scheduler allows."""
    granted = os.environ.get("SLURM_CPUS_PER_TASK")
    return int(granted) if granted else len(os.sched_getaffinity(0))


def prepare(workers: int) -> int:
    """Give torch ``workers`` threads (0: the allocation's cores), waiting ones asleep. Returns their number.

    Threads that spin while they wait, OpenMP's default, take the cores from the loader and from neighbours.
    oneDNN keeps 1,024 compiled primitives unless told otherwise; the nets of a pack of 16 need some 3,000 in turn, and
    compiling them anew in each update took a fifth of a pack's time. One takes about 5 KB.
    """
    count = workers or allocation()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16384")
    import torch

    torch.set_num_threads(count)
    return count
