#!/usr/bin/env python3
"""A real Slurm on one machine: one controller, several nodes, its own munge key, all in one folder.

    python slurm/cluster.py start --state /tmp/slurm [--nodes 2] [--cpus 2] [--accounting]
    export SLURM_CONF=/tmp/slurm/slurm.conf
    sbatch ...
    python slurm/cluster.py stop --state /tmp/slurm

Partition ``main`` is the default; jobs of ``urgent`` preempt those of ``main``, which are requeued. Needs the packages
of slurm/apt-packages.txt and root (or a user who runs only their own jobs). For trying things out and for tests.
"""

import argparse
import getpass
import os
import secrets
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

PARTS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "srun", "scontrol")
ACCOUNTING_PARTS = ("slurmdbd", "sacct", "sacctmgr", "mariadbd", "mariadb-install-db")
SEARCH = os.environ["PATH"] + os.pathsep + "/usr/sbin:/sbin"

CONFIG = """\
ClusterName=onemachine
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# A requeued job waits as long as a credential lives (2 minutes by default).
AuthInfo=socket={state}/munge.socket,cred_expire={requeue_s}
CredType=cred/munge
# Every daemon listens on its NodeAddr, the loopback interface, and on no other.
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={state}/controller
SlurmdSpoolDir={state}/%n
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/%n.pid
SlurmctldLogFile={state}/slurmctld.log
SlurmdLogFile={state}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
MailProg={state}/mailer
MaxArraySize={max_array_size}
MaxJobCount=50000
KillWait=10
MinJobAge=60
SlurmdTimeout=15
# A requeued job is looked at when its time has come, not up to a minute later.
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{port_range}] CPUs={cpus} \
  RealMemory={memory_mb} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=1-0 DefaultTime=60 PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=urgent Nodes=ALL MaxTime=1-0 DefaultTime=60 PriorityTier=10 PreemptMode=OFF
"""

MEMORY_CONFIG = """\
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
"""

GPU_CONFIG = """\
GresTypes=gpu,shard
"""
GRES_CONFIG = """\
Name=gpu File=/dev/null
Name=shard Count=2
"""
"""A GPU that Slurm gives to jobs, in two shards, and that nobody finds where it was promised."""

ACCOUNTING_CONFIG = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[0]}
AccountingStoragePass={state}/munge.socket
"""

DATABASE_CONFIG = """\
AuthType=auth/munge
AuthInfo=socket={state}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
CommunicationParameters=NoInAddrAny
DbdPort={ports[0]}
SlurmUser={user}
LogFile={state}/slurmdbd.log
PidFile={state}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser={user}
StorageLoc=accounting
"""


class ClusterError(Exception):
    """A part that is missing or does not start: one line."""


@dataclass(frozen=True)
class Cluster:
    """The cluster whose files are in ``state``. Holds nothing: the folder and the processes are the truth."""

    state: Path

    @property
    def config(self) -> Path:
        """What ``SLURM_CONF`` must name."""
        return self.state / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of Slurm's commands for this cluster."""
        return {**os.environ, "SLURM_CONF": str(self.config), "MYSQL_UNIX_PORT": str(self._database_socket)}

    @property
    def _database_socket(self) -> Path:
        return self.state / "database" / "socket"

    @property
    def nodes(self) -> list[str]:
        """Names of the nodes."""
        return sorted(p.name for p in self.state.glob("n[0-9]*") if p.is_dir())

    def start(
        self,
        nodes: int = 2,
        cpus: int = 2,
        max_array_size: int = 1001,
        requeue_s: int = 120,
        accounting: bool = False,
        memory_limits: bool = False,
        missing_gpu: bool = False,
    ) -> None:
        """Start munge, the controller and all nodes; return when every node is idle.

        ``cpus`` is what each node claims, whatever the machine has; ``accounting`` adds a database for sacct;
        ``memory_limits`` ends jobs that use more memory than they asked for; ``missing_gpu``: each node claims a GPU
        that is not there. What Slurm mails stands in ``mails``.
        Raises `ClusterError`.
        """
        self.state.mkdir(parents=True, exist_ok=True)
        self.check_owner()
        if missing := missing_parts(accounting):
            raise ClusterError(f"missing {', '.join(missing)}: install the packages of slurm/apt-packages.txt as root")
        if self.config.exists():
            raise ClusterError(f"{self.state} has a cluster already: stop it first")
        for name in ("controller", *(f"n{i}" for i in range(1, nodes + 1))):
            (self.state / name).mkdir()
        self.state.chmod(0o755)
        self.config.write_text(self._render(nodes, cpus, max_array_size, requeue_s))
        if memory_limits:
            config = self.config.read_text().replace("=CR_CPU\n", "=CR_CPU_Memory\n")
            self.config.write_text(config + MEMORY_CONFIG)
        if missing_gpu:
            config = self.config.read_text().replace(" State=UNKNOWN", " Gres=gpu:1,shard:2 State=UNKNOWN")
            self.config.write_text(config + GPU_CONFIG)
            (self.state / "gres.conf").write_text(GRES_CONFIG)
        self._write_mailer()
        self._start_munge()
        if accounting:
            self._start_accounting()
        self.start_controller()
        for name in self.nodes:
            self.start_node(name)
        self._wait(lambda: self.node_states().count("idle") == nodes, "idle nodes")

    def check_owner(self) -> None:
        """Raise `ClusterError` when another user can write here: they would choose the key, and what root runs."""
        if self.state.exists():
            seen = self.state.lstat()
            closed = stat.S_ISDIR(seen.st_mode) and not seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if not closed or seen.st_uid != os.geteuid():
                raise ClusterError(f"{self.state} is not a folder that you alone can write to: name another --state")

    def start_controller(self) -> None:
        """Start slurmctld; jobs and nodes known from before are taken over."""
        self._daemon("slurmctld", "-f", str(self.config))
        self._wait(lambda: self.slurm("scontrol", "ping").returncode == 0, "an answer of slurmctld")

    def stop_controller(self) -> None:
        """End slurmctld as an administrator would (its state is saved)."""
        self._kill(self.state / "slurmctld.pid", signal.SIGTERM)

    def start_node(self, name: str) -> None:
        """Start the node's slurmd; steps that live on are taken over."""
        self._daemon("slurmd", "-f", str(self.config), "-N", name)

    def stop_node(self, name: str) -> None:
        """End the node's slurmd at once, as a node that goes away; its running steps are left to themselves."""
        self._kill(self.state / f"{name}.pid", signal.SIGKILL)

    def node_states(self) -> list[str]:
        """State of each node, such as ``idle`` or ``mixed``."""
        return self.slurm("sinfo", "--noheader", "--Node", "--partition=main", "--format=%T").stdout.split()

    def slurm(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one of Slurm's commands against this cluster."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)

    def stop(self) -> None:
        """Cancel what runs, end all daemons, remove the folder. A cluster that is half gone is no error."""
        self.slurm("scancel", f"--user={getpass.getuser()}")
        self._until(lambda: not self.slurm("squeue", "--noheader").stdout.strip(), seconds=20)
        for name in ("slurmctld", *self.nodes, "slurmdbd", "database/mariadbd", "munged"):
            self._kill(self.state / f"{name}.pid", signal.SIGTERM)
        shutil.rmtree(self.state)

    def _render(self, nodes: int, cpus: int, max_array_size: int, requeue_s: int) -> str:
        ports = list(free_ports(nodes + 1))
        return CONFIG.format(
            host=socket.gethostname(),
            user=getpass.getuser(),
            state=self.state,
            ports=ports,
            port_range=",".join(map(str, ports[1:])),
            nodes=nodes,
            cpus=cpus,
            memory_mb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
            max_array_size=max_array_size,
            requeue_s=requeue_s,
        )

    def _write_mailer(self) -> None:
        mailer = self.state / "mailer"
        mailer.write_text(f'#!/bin/sh\necho "$@" >> {shlex.quote(str(self.state / "mails"))}\n')
        mailer.chmod(0o755)

    def _start_munge(self) -> None:
        key = self.state / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        files = {"key-file": key, "socket": self.state / "munge.socket", "pid-file": self.state / "munged.pid"}
        files |= {"log-file": self.state / "munged.log", "seed-file": self.state / "munge.seed"}
        self._daemon("munged", "--force", *(f"--{option}={path}" for option, path in files.items()))

    def _start_accounting(self) -> None:
        """MariaDB and slurmdbd, with this cluster known to them."""
        values = {"state": self.state, "user": getpass.getuser(), "ports": list(free_ports(1))}
        with self.config.open("a") as file:
            file.write(ACCOUNTING_CONFIG.format(**values))
        config = self.state / "slurmdbd.conf"
        config.touch(mode=0o600)
        config.write_text(DATABASE_CONFIG.format(**values))
        self._start_database()
        self._daemon("slurmdbd")
        register = ("sacctmgr", "--immediate", "add", "cluster", "onemachine")
        self._wait(lambda: self.slurm(*register).returncode == 0, "an answer of slurmdbd")

    def _start_database(self) -> None:
        """MariaDB on a socket alone, in a folder that only its own user and root may enter; the socket tells who asks.

        There is no password and no port: only the system user who runs Slurm may log in, as that user.
        """
        folder, user = self.state / "database", getpass.getuser()
        owner = "mysql" if user == "root" else user
        folder.mkdir(mode=0o700)
        first = folder / "first.sql"
        account = f"'{user}'@'localhost'"
        first.write_text(
            f"CREATE USER IF NOT EXISTS {account} IDENTIFIED VIA unix_socket;\n"
            f"GRANT ALL ON accounting.* TO {account};\n"
        )
        if user == "root":
            for path in (folder, first):
                shutil.chown(path, owner)
        options = ["--no-defaults", f"--datadir={folder}/data", f"--user={owner}"]
        install = ["mariadb-install-db", *options, "--skip-test-db", "--auth-root-authentication-method=socket"]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        paths = [
            f"--socket={self._database_socket}",
            f"--pid-file={folder}/mariadbd.pid",
            f"--init-file={first}",
            "--skip-networking",
        ]
        with (self.state / "mariadb.log").open("w") as log:
            subprocess.Popen([program("mariadbd"), *options, *paths], stdout=log, stderr=log, start_new_session=True)
        self._wait(lambda: answers(self._database_socket), "MariaDB")

    def _daemon(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [program(name), *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            raise ClusterError(f"{name} did not start: {' '.join(done.stderr.split())} (logs in {self.state})")

    def _kill(self, pid_file: Path, number: signal.Signals) -> None:
        try:
            pid = int(pid_file.read_text())
            os.kill(pid, number)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return
        self._wait(lambda: not alive(pid), f"the end of process {pid}")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        if not self._until(condition, seconds=30):
            raise ClusterError(f"waited 30 s for {what}: see the logs in {self.state}")

    def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True


def free_ports(count: int) -> Iterator[int]:
    """Ports that nobody listens on now."""
    with ExitStack() as stack:
        for _ in range(count):
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            yield listener.getsockname()[1]


def missing_parts(accounting: bool = False) -> list[str]:
    """Programs that are needed and not here."""
    return [name for name in (*PARTS, *(ACCOUNTING_PARTS if accounting else ())) if not shutil.which(name, path=SEARCH)]


def program(name: str) -> str:
    """Its path, in the folders of an administrator's PATH."""
    return shutil.which(name, path=SEARCH) or name


def answers(path: Path) -> bool:
    """Whether somebody listens on a socket in the file system."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def main() -> int:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["start", "stop", "status"])
    parser.add_argument("--state", type=Path, required=True, help="folder of the cluster, outside the project")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=2, help="CPUs that each node claims")
    parser.add_argument("--max-array-size", type=int, default=1001)
    parser.add_argument("--requeue", type=int, default=120, metavar="S", help="seconds before a requeued job starts")
    parser.add_argument("--accounting", action="store_true", help="with a database, so that sacct has answers")
    given = parser.parse_args()
    cluster = Cluster(given.state.absolute())
    try:
        cluster.check_owner()
        if given.action == "start":
            cluster.start(given.nodes, given.cpus, given.max_array_size, given.requeue, given.accounting)
            print(f"export SLURM_CONF={cluster.config}")
        elif not cluster.config.exists():
            raise ClusterError(f"no cluster in {cluster.state}: start one")
        elif given.action == "stop":
            cluster.stop()
        else:
            print(cluster.slurm("sinfo").stdout + cluster.slurm("squeue").stdout, end="")
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
