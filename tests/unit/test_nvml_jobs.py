"""Whose NVIDIA's GPUs are, through the real pynvml: by variables, by parts (MIG), and by the processes on them.

As in test_nvml.py each question has a process of its own; the job and the others there are its children.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from machine.gpus import Gpu, Slice
from machine.profiles import constant
from machine.simulated import SimulatedMachine

from greenrun.sampler.allocation import Allocation

Simulated = Callable[..., SimulatedMachine]

PRELUDE = """
import subprocess, sys, time
from greenrun.sampler.allocation import Allocation
from greenrun.sampler.model import Machine
from greenrun.sampler.sources.nvml import Nvml
machine = Machine({sysfs!r}, {procfs!r}, {allocation!r}, "", {visible!r})
job, other = (subprocess.Popen(["sleep", "60"]) for _ in range(2))
def opened(allocation=None, **visible):
    source = Nvml()
    found = source.open(machine._replace(allocation=allocation, visible=visible))
    return found.devices, [gpu.watched is not None for gpu in source._gpus]
def marks(allocation=None, **visible):
    devices, watched = opened(allocation, **visible)
    return [(device.of_job, device.job_part, device.counted) for device in devices], watched
def put(gpu, pid, percent=50, *place):
    with open({processes!r}[gpu], "a") as file:
        print(pid, percent, *place, file=file)
def whose(**over):
    return [(one.id[-1], one.of_job, one.job_part, one.shared, one.note) for one in nvml.whose(**over)]
def shares(seconds):
    return list(nvml.shares(job.pid, seconds))
def until_shared(seconds, share):
    for _ in range(200):  # the driver renews its figures six times a second
        if share in (told := shares(seconds)):
            return told
        time.sleep(0.05)
    return told
nvml = Nvml()
try:
    found = nvml.open(machine)
"""


def ask(
    machine: SimulatedMachine,
    *answers: str,
    then: str = "",
    visible: dict[str, str] | None = None,
    allocation: Allocation | None = None,
    **environment: str,
) -> list[Any]:
    """Open NVML in a new process, run `then`, and give the values of the expressions."""
    code = PRELUDE.format(
        sysfs=machine.sysfs,
        procfs=machine.procfs,
        allocation=allocation,
        visible={} if visible is None else visible,
        processes=[machine.processes_path(gpu) for gpu in range(len(machine.gpus))],
    )
    lines = [*then.splitlines(), *(f"print(repr({answer}))" for answer in answers)]
    code += "".join(f"    {line}\n" for line in lines)
    code += "finally:\n    for process in (job, other): process.kill(); process.wait()\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **machine.environment, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [ast.literal_eval(line) for line in done.stdout.splitlines()]


WHOSE = "[(device.of_job, device.job_part, device.counted) for device in found.devices]"
NOTES = "[device.note for device in found.devices]"
WATCHED = "[gpu.watched is not None for gpu in nvml._gpus]"


def gpus(number: int, **parts: Any) -> list[Gpu]:
    """Make some GPUs of one model."""
    return [Gpu(constant(1.0), **parts) for _ in range(number)]


# --- by variables


def test_numbers_count_by_the_bus_and_uuids_by_name(simulated: Simulated) -> None:
    """NVML's own order is another one here; hidden GPUs are not the job's, and stay in the machine's sum."""
    addresses = ("0000:31:00.0", "0000:11:00.0", "0000:21:00.0")
    machine = simulated(gpus=[Gpu(constant(1.0), pci=address) for address in addresses])
    by_bus, by_name = ask(
        machine,
        "marks(CUDA_VISIBLE_DEVICES='0', CUDA_DEVICE_ORDER='PCI_BUS_ID')",
        f"marks(CUDA_VISIBLE_DEVICES={machine.gpus[2].uuid!r})",
    )
    assert by_bus == ([(False, None, True), (True, None, True), (False, None, True)], [False, True, False])
    assert by_name == ([(False, None, True), (False, None, True), (True, None, True)], [False, False, True])


def test_gpus_that_cuda_does_not_count(simulated: Simulated) -> None:
    """One that is shut is passed over, as CUDA does; where one is broken, numbers mean nothing."""
    shut = simulated(gpus=[Gpu(constant(1.0), error=4), *gpus(2)])
    assert ask(shut, "[device.of_job for device in found.devices]", visible={"CUDA_VISIBLE_DEVICES": "0"}) == [
        [True, False]
    ]
    broken = simulated(gpus=[Gpu(constant(1.0), error=999), *gpus(2)])
    whose, notes = ask(broken, WHOSE, NOTES, visible={"CUDA_VISIBLE_DEVICES": "0"})
    assert [device[0] for device in whose] == [None, None]
    assert "not all GPUs could be opened" in notes[0]


def test_models_that_differ(simulated: Simulated) -> None:
    """CUDA's own order of different models is not guessed, and the GPUs are looked at instead."""
    machine = simulated(gpus=[Gpu(constant(1.0), name="Small"), Gpu(constant(1.0), name="Large", counter=False)])
    whose, notes, watched = ask(machine, WHOSE, NOTES, WATCHED, visible={"CUDA_VISIBLE_DEVICES": "0"})
    assert whose == [(None, None, True)] * 2
    assert watched == [True, True]
    assert notes[1].startswith("This GPU has no energy counter")
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in notes[1]


def test_within_what_slurm_gave(simulated: Simulated) -> None:
    """A step's own variable narrows what SLURM gave, never widens it; what counts for the node is SLURM's to say."""
    both, second, untold = Allocation("job", frozenset({0, 1}), 2), Allocation("job", frozenset({1}), 1), None
    cases: list[tuple[Allocation, str, list[bool]]] = [
        (both, "1", [False, True, False]),
        (both, "0,1", [True, True, False]),
        (both, "1,2", [False, True, False]),
        (both, "", [False, False, False]),
        (second, "0", [False, True, False]),  # it counts otherwise than we do
        (second, "MIG-x", [False, False, False]),
        (Allocation("job", untold), "2", [False, False, True]),
    ]
    answers = (f"marks({allocation!r}, CUDA_VISIBLE_DEVICES={cuda!r})" for allocation, cuda, _ in cases)
    for (marks, watched), (allocation, _, of_job) in zip(ask(simulated(gpus=gpus(3)), *answers), cases, strict=True):
        given = allocation.indices
        assert [mark[0] for mark in marks] == of_job
        assert [mark[2] for mark in marks] == [given is None or number in given for number in range(3)]
        assert watched == [given is None and mine for mine in of_job]  # what SLURM gave is nobody else's


def test_what_is_asleep_is_not_woken_to_be_counted(simulated: Simulated) -> None:
    """A number may mean the one that sleeps; with the order of the bus it is known, also to the source for later."""
    machine = simulated(gpus=[Gpu(constant(1.0), suspended=True), *gpus(2)])
    status = Path(machine.sysfs, "bus/pci/devices", machine.gpus[0].pci, "power/runtime_status")
    awake = f"open({str(status)!r}, 'w').write('active')\njoined = found.later.open(machine)\n"
    by_bus = {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    (first, second) = ask(machine, WHOSE, "[device.of_job for device in joined.devices]", then=awake, visible=by_bus)
    assert [device[0] for device in first] == [False, False]
    assert second == [True]
    machine.set_runtime_status(machine.gpus[0], "suspended")
    (untold,) = ask(machine, "[device.of_job for device in found.devices]", visible={"CUDA_VISIBLE_DEVICES": "0"})
    assert untold == [None, None]
    assert machine.woken() == []


def test_where_the_command_is_not_all_of_the_job(simulated: Simulated) -> None:
    """Without its environment nothing is chosen, and nobody is looked for."""
    machine = simulated(gpus=gpus(1))
    code = "machine = machine._replace(visible=None); nvml = Nvml(); found = nvml.open(machine); put(0, job.pid)"
    (whose, told, later) = ask(machine, WHOSE, "shares(5.0)", "whose(over=True)", then=code)
    assert (whose, told, later) == ([(None, None, True)], [], [])
    assert machine.asked("list", 0) == 0


# --- parts

SLICES = (Slice("MIG-0000aaaa-1", 3, 0, 2, 2), Slice("MIG-0000bbbb-2", 5, 0, 3, 1), Slice("MIG-0000bbbb-3", 5, 1, 3, 2))


def test_a_part_of_a_gpu(simulated: Simulated) -> None:
    """By its share of the GPU's slices, labelled an estimate; a compute instance has its part of the instance."""
    machine = simulated(gpus=[Gpu(constant(1.0), slices=SLICES), *gpus(1)])
    cases = (("MIG-0000aaaa-1", 2 / 7), ("MIG-0000bbbb-2", 1 / 7), ("MIG-0000bbbb-3,MIG-0000aaaa-1", 4 / 7))
    told = ask(
        machine,
        "nvml.utilisation()",
        *(f"marks(CUDA_VISIBLE_DEVICES={name!r})" for name, _ in cases),
        *(f"opened(CUDA_VISIBLE_DEVICES={name!r})[0][0].note" for name, _ in cases),
    )
    assert told[0] == (None, 0.63)  # in MIG mode the driver does not tell it
    for (_, part), (whose, watched), note in zip(cases, told[1:4], told[4:], strict=True):
        assert whose == [(None, pytest.approx(part), True), (False, None, True)]
        assert watched == [False, False]
        assert f"The job has {100 * part:.0f} % of this GPU (MIG)" in note


def test_a_gpu_in_one_part_is_the_jobs(simulated: Simulated) -> None:
    """Seven slices of seven are all of it; an A30 has four."""
    machine = simulated(
        gpus=[
            Gpu(constant(1.0), slices=(Slice("MIG-1", 0, 0, 7, 7),)),
            Gpu(constant(1.0), slices=(Slice("MIG-2", 1, 0, 1, 1),), most_slices=4),
        ]
    )
    (whose,) = ask(machine, WHOSE, visible={"CUDA_VISIBLE_DEVICES": "MIG-1,MIG-2"})
    assert whose == [(True, None, True), (None, 0.25, True)]


def test_the_part_on_which_the_job_is_seen(simulated: Simulated) -> None:
    """Without a variable its processes tell; who is on another part is no matter, who is on the same one is."""
    machine = simulated(gpus=[Gpu(constant(1.0), slices=SLICES), Gpu(constant(1.0), slices=SLICES)])
    told, shares, end = ask(
        machine,
        "first",
        "told",
        "whose(over=True)",
        then="put(0, job.pid, 0, 3, 0); put(0, other.pid, 0, 5, 0)\n"
        "put(1, job.pid, 0, 5, 1); put(1, other.pid, 0, 5, 1)\n"
        "told = shares(11.0); first = whose()\n",
    )
    assert [word[:4] for word in told] == [("0", None, pytest.approx(2 / 7), False), ("1", None, None, True)]
    assert shares == [pytest.approx(2 / 7), None]
    assert "(MIG)" in told[0][4]
    assert end == []
    assert [machine.asked("use", gpu) for gpu in (0, 1)] == [0, 0]


# --- by processes


def test_lists_come_seldom_and_only_of_gpus_that_are_open(simulated: Simulated) -> None:
    """Not in the first second, and ten seconds apart, for each GPU; of a hidden one never."""
    machine = simulated(gpus=gpus(3))
    uuids = ",".join(gpu.uuid for gpu in machine.gpus[:2])
    calls = f"open({os.path.join(machine.directory, 'calls')!r}, 'a+')"
    (early,) = ask(
        machine,
        "early",
        then="for tenth in range(10): shares(tenth / 10)\n"
        f"{calls}.close(); early = {calls}.tell()\n"
        "for tenth in range(10, 350): shares(tenth / 10)\n",
        visible={"CUDA_VISIBLE_DEVICES": uuids},
    )
    assert early == 0
    assert [machine.asked("list", gpu) for gpu in range(3)] == [4, 4, 0]


def test_whose_it_is_by_who_is_there(simulated: Simulated) -> None:
    """The job's alone, shared, another's, nobody's: as soon as it is known, and the rest at the end."""
    machine = simulated(gpus=[*gpus(3), Gpu(constant(1.0), utilisation_percent=0)])
    first, words, again, shares, end = ask(
        machine,
        "[device.of_job for device in found.devices]",
        "words",
        "whose()",
        "told",
        "whose(over=True)",
        then="put(0, job.pid); put(1, job.pid, 60); put(1, other.pid, 20); put(2, other.pid)\n"
        "shares(1.0); words = whose(); told = until_shared(2.0, 0.75); shares(11.5)\n",
    )
    assert first == [None] * 4
    assert [(word[0], word[1], word[3]) for word in words] == [("0", True, False), ("1", None, True)]
    assert "estimated" in words[1][4]
    assert again == []
    assert shares == [1.0, 0.75, 0.0, None]
    assert [(word[0], word[1]) for word in end] == [("2", False), ("3", False)]
    assert end[0][4] == "No process of the job was seen on this GPU."
    assert machine.asked("use", 0) == machine.asked("use", 2) == 0  # asked for only where it is shared


def test_a_given_gpu_that_others_use_too(simulated: Simulated) -> None:
    """The variable gives it to the job; the list shows that it is not alone; who is idle there takes nothing."""
    machine = simulated(gpus=gpus(2))
    given = {"CUDA_VISIBLE_DEVICES": "0,1"}
    words, shares = ask(
        machine,
        "whose()",
        "until_shared(3.0, 1.0)",
        then="put(0, job.pid, 30); put(0, other.pid, 0); shares(2.0)",
        visible=given,
    )
    assert [word[:4] for word in words] == [("0", None, None, True)]
    assert shares == [1.0, 1.0]


@pytest.mark.parametrize(
    ("parts", "machine_parts", "reason", "share"),
    [
        ({"lists": False}, {}, "does not list its processes", None),
        ({}, {"own_pids": True}, "a container with its own", None),
        ({"uses": False}, {}, "does not tell how much of its use is the job's", None),
    ],
)
def test_what_the_driver_or_a_container_hides(
    simulated: Simulated, parts: dict[str, Any], machine_parts: dict[str, Any], reason: str, share: float | None
) -> None:
    """Unknown, and said so: no equal parts, and nobody taken for another by a number."""
    machine = simulated(gpus=gpus(1, **parts), **machine_parts)
    told, end = ask(
        machine,
        "told",
        "whose(over=True)",
        then="put(0, job.pid); put(0, other.pid)\nfor second in range(1, 13): told = shares(second)",
    )
    assert told == [share]
    assert [word[1] for word in end] == [None]
    assert reason in end[0][4]


def test_a_lost_gpu_is_asked_no_more(simulated: Simulated) -> None:
    """It has no share from then on."""
    machine = simulated(gpus=gpus(1, lost_at=1e9))
    spec = Path(machine.environment["SIMULATED_NVML"])
    spec.write_text(spec.read_text().replace("lost_at 1000000000.0", "lost_at 3.0"))
    first, later = ask(
        machine,
        "first",
        "shares(12.0)",
        then=f"put(0, job.pid); first = shares(1.0)\n"
        f"time.sleep(max(0, {machine.epoch} + 3.1 - time.monotonic())); nvml.read()",
    )
    assert later == [None]
    assert first in ([1.0], [None])  # where the machine was too slow it was lost before
    assert machine.asked("list", 0) <= 1
