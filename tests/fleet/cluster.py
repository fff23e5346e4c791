"""A real Slurm of two nodes on this machine, without munge and accounting.

A node lives in a PID namespace of its own: when it is killed, everything that runs on it goes with it, as
on a machine that loses its power. Ports are the kernel's choice, and all files lie in one folder.
"""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import need_program, need_root

#: Seconds a test waits for anything that the cluster is to do.
PATIENCE_S = 40.0

_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
AuthType=auth/none
AuthInfo=cred_expire=5
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/spool-%n
PlugStackConfig={folder}/plugstack.conf
MailProg=/bin/true
MessageTimeout=2
BatchStartTimeout=1
SlurmdTimeout=3
KillWait=2
MinJobAge=10
ReturnToService=2
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 Features=amd
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 Features=arm
PartitionName=all Nodes=n1,n2 Default=YES State=UP MaxTime=60
"""


class Cluster:
    """Two nodes, `n1` (feature `amd`) and `n2` (feature `arm`), each with room for two tasks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start all of it, and wait until both nodes are idle."""
        for name in ("state", "spool-n1", "spool-n2"):
            (self.folder / name).mkdir()
        (self.folder / "plugstack.conf").touch()
        user = pwd.getpwuid(os.getuid()).pw_name
        self.conf.write_text(
            _CONF.format(host=socket.gethostname(), ports=_ports(3), user=user, folder=self.folder)
        )
        self.controller(True)
        self.node("n1")
        self.node("n2")
        wait_for(lambda: self.run("sinfo", "-h", "-o", "%T %D").split() == ["idle", "2"])

    def controller(self, on: bool) -> None:
        """Start slurmctld, or end it."""
        if on:
            self._start("slurmctld", ["slurmctld", "-D"])
        else:
            self.kill("slurmctld")

    def node(self, name: str) -> None:
        """Start a node."""
        apart = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._start(name, [*apart, "slurmd", "-D", "-N", name])

    def kill(self, name: str) -> None:
        """End a daemon at once, and what runs on it."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def run(self, *words: str) -> str:
        """What one of Slurm's programs prints, or nothing while it fails."""
        done = subprocess.run(words, env=self.environment(), capture_output=True, text=True, timeout=60)
        return done.stdout

    def environment(self) -> dict[str, str]:
        """The environment in which this is the cluster."""
        return {**os.environ, "SLURM_CONF": str(self.conf)}

    def stop(self) -> None:
        """End everything."""
        for name in list(self._running):
            self.kill(name)

    def _start(self, name: str, words: list[str]) -> None:
        words[words.index("-D") - 1] = need_program(words[words.index("-D") - 1])
        with open(self.folder / f"{name}.log", "ab") as log:
            self._running[name] = subprocess.Popen(
                words, env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )


def need_slurm() -> None:
    """Skip the running test where a cluster cannot be started; in CI it fails."""
    need_root()
    for name in ("slurmctld", "slurmd", "sbatch", "unshare"):
        need_program(name)


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """A cluster in an empty folder, for as long as this lasts."""
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def wait_for(done: Callable[[], object]) -> None:
    """Ask until it is true."""
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, "the cluster did not do it"
        time.sleep(0.1)


def _ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    taken = [socket.socket() for _ in range(count)]
    try:
        for each in taken:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in taken]
    finally:
        for each in taken:
            each.close()
