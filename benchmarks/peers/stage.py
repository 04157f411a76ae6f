"""The simulated machine at the places where programs look for a real one.

The peers know no option for another sysfs: they read /sys/class/powercap and load libnvidia-ml.so.1 by its name. So
everything runs in a mount namespace of its own, in which the simulated powercap tree is bound over the real place;
where the kernel has no such place, /sys/class and /sys/devices/virtual are made anew with all that was in them. NVML is
found through LD_LIBRARY_PATH, and an nvidia-smi that says nothing stands in PATH, for codecarbon asks for no GPU where
there is none. A network namespace without a route stands for a compute node without a way out. All of
it ends with the process: nothing of the real machine is changed.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from machine.simulated import SimulatedMachine

_PLACES = {"/sys/class": "class", "/sys/devices/virtual": "devices/virtual"}  # where powercap is, and where in a tree
INSIDE = "GREENRUN_PEERS_INSIDE"
_SEEN = ("LD_LIBRARY_PATH", "SIMULATED_NVML")  # of what a simulated machine would tell greenrun, what a peer can use


def enter(arguments: list[str]) -> int:
    """Run this program again in namespaces of its own, and give its status; who is not root is root in there."""
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    front = ["unshare", "--mount", "--net", "--propagation", "private", *as_root, "--"]
    command = [*front, sys.executable, "-m", "peers", *arguments]
    return subprocess.run(command, env={**os.environ, INSIDE: "1"}).returncode


def prepare() -> None:
    """Make the places, and a network that reaches nobody but this machine itself."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for place in _PLACES:
        if not os.path.isdir(f"{place}/powercap"):
            _make_anew(place)


def _make_anew(place: str) -> None:
    """Put a folder in memory over one of sysfs, with what is in that bound into it, and an empty powercap."""
    with tempfile.TemporaryDirectory() as copy:
        _run("mount", "--rbind", place, copy)
        _run("mount", "-t", "tmpfs", "tmpfs", place)
        for name in sorted(os.listdir(copy)):
            os.mkdir(f"{place}/{name}")
            _run("mount", "--rbind", f"{copy}/{name}", f"{place}/{name}")
        _run("umount", "--lazy", copy)
    os.mkdir(f"{place}/powercap")


@contextlib.contextmanager
def on(machine: SimulatedMachine) -> Iterator[Mapping[str, str]]:
    """Let this process and its children see a machine that is running; give what their environment needs for it."""
    bound = []
    with open(os.path.join(machine.directory, "nvidia-smi"), "w") as file:
        file.write("#!/bin/sh\n")
        os.fchmod(file.fileno(), 0o755)
    try:
        for place, folder in _PLACES.items():
            tree = os.path.join(machine.sysfs, folder, "powercap")
            if os.path.isdir(tree):
                _link_subsystems(tree)
                _run("mount", "--bind", tree, f"{place}/powercap")
                bound.append(f"{place}/powercap")
        seen = {name: machine.environment[name] for name in _SEEN if name in machine.environment}
        yield {**seen, "PATH": f"{machine.directory}:{os.environ['PATH']}"} if seen else {}
    finally:
        for place in bound:
            _run("umount", "--lazy", place)


def _link_subsystems(tree: str) -> None:
    """Add the link to the class that the kernel gives each device; codecarbon looks for the zones behind it."""
    for folder, below, _ in os.walk(tree):
        if "subsystem" not in below and folder != tree:
            os.symlink("/sys/class/powercap", os.path.join(folder, "subsystem"))


@contextlib.contextmanager
def silent_resolver(folder: str) -> Iterator[None]:
    """Let every question for the address of a host go to where nobody ever answers, for as long as the block lasts."""
    import socket

    path = os.path.join(folder, "resolv.conf")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener, open(path, "w") as file:
        listener.bind(("127.0.0.77", 53))
        file.write("nameserver 127.0.0.77\n")
        file.flush()
        _run("mount", "--bind", path, os.path.realpath("/etc/resolv.conf"))
        try:
            yield
        finally:
            _run("umount", "--lazy", os.path.realpath("/etc/resolv.conf"))


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
