"""A Slurm cluster of one node, out of the distribution's packages, with everything of it in one folder."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
_SBIN = "/usr/sbin:/sbin"


@contextlib.contextmanager
def one_node_cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start munge, slurmctld and slurmd; yields the environment in which `sbatch` and the others find them.

    Skips the test where Slurm is not installed, or its daemons do not start as this user in this container.
    """
    path = os.environ["PATH"] + ":" + _SBIN
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        pytest.skip(f"Slurm is not installed ({', '.join(missing)}): apt-get install slurm-wlm munge")
    folder.mkdir(mode=0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    configuration = folder / "slurm.conf"
    configuration.write_text(_configuration(folder))
    environment = {**os.environ, "PATH": path, "SLURM_CONF": str(configuration)}
    files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    commands = [
        ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files],
        ["slurmctld", "-D", "-f", str(configuration)],
        ["slurmd", "-D", "-f", str(configuration)],
    ]
    daemons: list[subprocess.Popen] = []
    with open(folder / "daemons.log", "wb") as log:
        try:
            for command in commands:
                daemons.append(
                    subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
                )
                time.sleep(0.5)
            _wait_for_node(environment, daemons, folder / "daemons.log")
            yield environment
        finally:
            subprocess.run(["scancel", "--user", getpass.getuser()], env=environment, check=False, capture_output=True)
            for daemon in reversed(daemons):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(daemon.pid, signal.SIGTERM)
            for daemon in reversed(daemons):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    daemon.wait(10)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(daemon.pid, signal.SIGKILL)
                daemon.wait()


def _wait_for_node(environment: dict[str, str], daemons: list[subprocess.Popen], log: Path) -> None:
    for _ in range(60):
        state = subprocess.run(
            ["sinfo", "-h", "-o", "%t"], env=environment, capture_output=True, text=True, check=False
        )
        if state.stdout.strip() in ("idle", "mix"):
            return
        if any(daemon.poll() is not None for daemon in daemons):
            break
        time.sleep(0.5)
    said = log.read_text(errors="replace").strip().splitlines()
    pytest.skip(f"Slurm is installed but does not start here: {said[-1] if said else 'no word why'}")


def _configuration(folder: Path) -> str:
    host, user = socket.gethostname().partition(".")[0], getpass.getuser()
    controller, node = _free_port(), _free_port()
    return f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
