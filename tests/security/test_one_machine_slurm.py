"""Attacks of another user of the machine on the one-machine Slurm, which runs as root."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from slurm.cluster import Cluster, missing_parts
from tests.conftest import real_part

pytestmark = pytest.mark.cluster
LISTENING = "0A"
LOOPBACK = "0100007F"


@pytest.fixture(scope="module")
def accounted():
    if missing := missing_parts(accounting=True):
        real_part(f"Slurm's accounting ({', '.join(missing)})")
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="slurm-")))
    cluster.start(nodes=1, cpus=1, accounting=True)
    yield cluster
    cluster.stop()


def listeners(pids):
    """(address, port) of every TCP socket that these processes listen on; addresses as /proc writes them."""
    inodes = set()
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            inodes |= set(re.findall(r"socket:\[(\d+)\]", str(entry.readlink())))
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return [tuple(row[1].split(":")) for row in rows if row[3] == LISTENING and row[9] in inodes]


def test_every_daemon_listens_on_the_loopback_interface_alone(accounted):
    pids = [int(path.read_text()) for path in [*accounted.state.glob("*.pid"), *accounted.state.glob("*/*.pid")]]
    found = listeners(pids)
    assert len(found) >= 3, "slurmctld, slurmd and slurmdbd listen"
    assert {address for address, _ in found} == {LOOPBACK}


def test_another_user_does_not_reach_the_database(accounted):
    client = shutil.which("mariadb")
    assert client, "mariadb-client is not installed (tests/apt-packages.txt)"
    attack = [client, "--no-defaults", f"--socket={accounted.state}/database/socket", "--user=root", "-e", "SELECT 1"]
    as_root = subprocess.run(attack, capture_output=True, text=True, check=False)
    assert as_root.returncode == 0, as_root.stderr  # the attack works for who may
    stranger = subprocess.run(
        attack, capture_output=True, text=True, check=False, user="nobody", group="nogroup", extra_groups=[]
    )
    assert stranger.returncode != 0
    assert "(13)" in stranger.stderr  # EACCES: the folder is closed


def test_the_keys_are_for_their_owner_alone(accounted):
    for name in ("munge.key", "slurmdbd.conf"):
        assert (accounted.state / name).stat().st_mode & 0o077 == 0
    assert (accounted.state / "database").stat().st_mode & 0o077 == 0
