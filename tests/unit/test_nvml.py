"""NVML through the real pynvml and a simulated driver library, each time in a process of its own.

The dynamic loader looks at LD_LIBRARY_PATH once, when a process starts.
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
from machine import gpus as gpu_parts
from machine.gpus import Driver, Gpu
from machine.profiles import constant, square
from machine.simulated import SimulatedMachine

from greenrun.sampler.allocation import Allocation

Simulated = Callable[..., SimulatedMachine]

PRELUDE = """
import sys, time
from greenrun.sampler.allocation import Allocation
from greenrun.sampler.model import Machine
from greenrun.sampler.sources.nvml import Nvml
machine, epoch = Machine({sysfs!r}, {procfs!r}, {allocation!r}), {epoch!r}
def until(t): time.sleep(max(0, epoch + t - time.monotonic()))
nvml = Nvml()
found = nvml.open(machine)
"""


def ask(
    machine: SimulatedMachine, *answers: str, then: str = "", allocation: Allocation | None = None, **environment: str
) -> list[Any]:
    """Open NVML on a simulated machine in a new process, run `then`, and give the values of the expressions."""
    code = PRELUDE.format(sysfs=machine.sysfs, procfs=machine.procfs, epoch=machine.epoch, allocation=allocation)
    code += then
    code += "\n" + "\n".join(f"print(repr({answer}))" for answer in answers)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **machine.environment, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [ast.literal_eval(line) for line in done.stdout.splitlines()]


FINDINGS = "[(finding.status, finding.subject, finding.sentence, finding.remedy) for finding in found.findings]"
DEVICES = "[(device.id, device.method) for device in found.devices]"


def test_counter_where_there_is_one_and_power_where_not(simulated: Simulated) -> None:
    """A mixed set of GPUs: each by the best that it offers, polled because of those that tell only power."""
    machine = simulated(gpus=[Gpu(constant(100.0)), Gpu(constant(200.0), counter=False, name="Old One")])
    devices, names, poll, percents, statuses = ask(
        machine,
        DEVICES,
        "[device.name for device in found.devices]",
        "nvml.poll_seconds",
        "[device.uncertainty_percent for device in found.devices]",
        "[finding.status for finding in found.findings]",
    )
    assert devices == [(f"nvml:{machine.gpus[0].uuid}", "counter"), (f"nvml:{machine.gpus[1].uuid}", "power")]
    assert names == [machine.gpus[0].name, "Old One"]
    assert poll == 0.1
    assert percents == [5.0, 5.0]
    assert statuses == ["ok", "ok"]


def test_counters_alone_need_no_polling(simulated: Simulated) -> None:
    """Where every GPU has a counter nothing must be read more often than the log is written."""
    assert ask(simulated(gpus=[Gpu(constant(100.0))]), "nvml.poll_seconds") == [None]


def test_readings_are_the_hardwares_in_our_units(simulated: Simulated) -> None:
    """The counter comes in microjoules, the power in watts, each with its time."""
    machine = simulated(gpus=[Gpu(constant(150.0)), Gpu(constant(250.0), counter=False)])
    (pairs,) = ask(
        machine,
        "[(a[0].t, a[0].microjoules, a[1].watts) for a in (first, second)]",
        then="first = nvml.read(); time.sleep(1); second = nvml.read()",
    )
    (t0, before, _), (t1, after, watts) = pairs
    assert after - before == pytest.approx(150e6 * (t1 - t0), rel=0.05)
    assert watts == pytest.approx(250.0)


@pytest.mark.parametrize(("instant", "low", "high"), [(True, 300.0, 300.0), (False, 110.0, 290.0)])
def test_instant_power_is_preferred_to_the_average(
    simulated: Simulated, instant: bool, low: float, high: float
) -> None:
    """Soon after a rise the instant is the high power, and the mean over four seconds still lies in between."""
    gpu = Gpu(square(100.0, 300.0, 0.1, 0.95), counter=False, average_seconds=4.0, instant=instant)
    rise = next(t / 10 for t in range(1, 200) if gpu.profile.power(t / 10) > gpu.profile.power(t / 10 - 0.1))
    (watts,) = ask(simulated(gpus=[gpu]), "nvml.read()[0].watts", then=f"until({rise + 1.0})")
    assert low <= watts <= high


def test_lost_gpu_is_told_once_and_the_others_go_on(simulated: Simulated) -> None:
    """A GPU that falls off the bus gives None from then on, with one warning."""
    machine = simulated(gpus=[Gpu(constant(100.0), lost_at=2.0), Gpu(constant(100.0))])
    before, after, warnings, utilisation = ask(
        machine,
        "[reading is not None for reading in first]",
        "[[reading is not None for reading in readings] for readings in later]",
        "[(device, 'lost' in sentence) for device, sentence in (*nvml.warnings(), *nvml.warnings())]",
        "nvml.utilisation()",
        then="first = nvml.read(); until(2.1); later = [nvml.read(), nvml.read()]",
    )
    assert before == [True, True]
    assert after == [[False, True], [False, True]]
    assert warnings == [(f"nvml:{machine.gpus[0].uuid}", True)]
    assert utilisation == (None, 0.63)


def test_machine_without_nvidia_is_absent_and_cheap(simulated: Simulated) -> None:
    """No GPU, no library: one finding, and pynvml is not even imported."""
    findings, devices, imported = ask(simulated(), FINDINGS, DEVICES, "'pynvml' in sys.modules")
    assert [finding[0] for finding in findings] == ["absent"]
    assert devices == []
    assert imported is False


def test_gpu_without_a_driver_library_is_broken(simulated: Simulated) -> None:
    """A GPU on the bus that NVML cannot reach is a driver that is missing."""
    machine = simulated()
    gpu_parts.build(machine.sysfs, [gpu_parts.place(Gpu(constant(100.0)), 0)])
    (findings,) = ask(machine, FINDINGS)
    assert [finding[0] for finding in findings] == ["broken"]
    assert "--gpus all" in findings[0][3]


@pytest.mark.parametrize(
    ("code", "gpus", "status", "remedy"),
    [
        (9, [Gpu(constant(1.0))], "broken", "modprobe nvidia"),
        (9, [], "absent", ""),
        (18, [Gpu(constant(1.0))], "broken", "Reboot"),
        (4, [Gpu(constant(1.0))], "forbidden", "/dev/nvidiactl"),
        (999, [Gpu(constant(1.0))], "broken", ""),
    ],
)
def test_driver_that_refuses_is_told_by_its_reason(
    simulated: Simulated, code: int, gpus: list[Gpu], status: str, remedy: str
) -> None:
    """Not loaded, of another version, forbidden: each has its own status and its own way out."""
    machine = simulated(gpus=gpus, driver=Driver(init_error=code))
    devices, findings, readings = ask(machine, DEVICES, FINDINGS, "nvml.read()", then="nvml.close()")
    assert devices == []
    assert list(readings) == []
    assert [finding[0] for finding in findings] == [status]
    assert remedy in findings[0][3]
    assert bool(remedy) == bool(findings[0][3])


def test_driver_without_gpus_is_absent(simulated: Simulated) -> None:
    """A driver that knows no GPU is no fault."""
    (findings,) = ask(simulated(gpus=[]), FINDINGS)
    assert [finding[0] for finding in findings] == ["absent"]


def test_one_gpu_that_refuses_does_not_stop_the_others(simulated: Simulated) -> None:
    """Forbidden and mute GPUs are findings; the one in order is read."""
    machine = simulated(
        gpus=[
            Gpu(constant(1.0), error=4),
            Gpu(constant(1.0), counter=False, power=False, instant=False),
            Gpu(constant(1.0)),
        ]
    )
    findings, devices = ask(machine, FINDINGS, DEVICES)
    assert [(status, subject) for status, subject, _, _ in findings] == [
        ("forbidden", "GPU 0"),
        ("absent", "GPU 1"),
        ("ok", "GPU 2"),
    ]
    assert devices == [(f"nvml:{machine.gpus[2].uuid}", "counter")]


def test_gpu_asleep_is_not_woken_and_joins_when_awake(simulated: Simulated) -> None:
    """A runtime-suspended GPU is left alone; the source for later opens it once something else has woken it."""
    machine = simulated(gpus=[Gpu(constant(1.0)), Gpu(constant(1.0), suspended=True)])
    status = Path(machine.sysfs, "bus/pci/devices", machine.gpus[1].pci, "power/runtime_status")
    devices, findings, still, joined = ask(
        machine,
        DEVICES,
        FINDINGS,
        "([device.id for device in again.devices], again.findings, again.later is not None)",
        "([device.id for device in last.devices], last.later, [reading is not None for reading in awake.read()])",
        then=(
            "again = found.later.open(machine)\n"
            f"open({str(status)!r}, 'w').write('active')\n"
            "awake = again.later\n"
            "last = awake.open(machine)\n"
        ),
    )
    assert devices == [(f"nvml:{machine.gpus[0].uuid}", "counter")]
    assert sorted(finding[0] for finding in findings) == ["absent", "ok"]
    assert "asleep" in findings[0][2]
    assert still == ([], (), True)
    assert joined == ([f"nvml:{machine.gpus[1].uuid}"], None, [True])
    assert machine.woken() == []


def test_all_asleep_leaves_nvml_alone(simulated: Simulated) -> None:
    """Where every GPU sleeps NVML is not even loaded."""
    machine = simulated(gpus=[Gpu(constant(1.0), suspended=True)])
    devices, imported = ask(machine, DEVICES, "'pynvml' in sys.modules")
    assert (devices, imported) == ([], False)
    assert machine.woken() == []


def test_utilisation_is_asked_for_once_a_second(simulated: Simulated) -> None:
    """Between two questions within a second the first answer stands, even for a GPU lost meanwhile."""
    machine = simulated(gpus=[Gpu(constant(1.0), utilisation_percent=40, lost_at=2.5)])
    (answers,) = ask(
        machine,
        "answers",
        then="until(2.1); answers = [nvml.utilisation()]; until(2.6); nvml.read(); "
        "answers.append(nvml.utilisation()); until(3.3); answers.append(nvml.utilisation())",
    )
    assert answers == [(0.4,), (0.4,), (None,)]


WHOSE = "[(device.id[-1], device.of_job, device.counted, device.note) for device in found.devices]"
SECOND = Allocation("job", frozenset({1}), 1)


def three(**first: Any) -> list[Gpu]:
    """Make GPUs in the order of the bus, whose device files are numbered otherwise: 2, 0, 1."""
    return [Gpu(constant(1.0), minor=2, **first), Gpu(constant(1.0), minor=0), Gpu(constant(1.0), minor=1)]


def test_neighbours_gpus_are_beside_the_total(simulated: Simulated) -> None:
    """The job has GPU 1 by its device file, which NVML shows as the third; the site's record counts all of them."""
    machine = simulated(gpus=three())
    note = "SLURM has not given this GPU to the job."
    (mine,) = ask(machine, WHOSE, allocation=SECOND)
    assert mine == [("0", False, False, note), ("1", False, False, note), ("2", True, True, "")]
    (site,) = ask(machine, WHOSE, allocation=SECOND._replace(whole_node=True))
    assert site == [("0", False, True, note), ("1", False, True, note), ("2", True, True, "")]


def test_gpus_that_a_job_may_not_open_are_no_fault(simulated: Simulated) -> None:
    """With ConstrainDevices the job sees its own GPU alone, as CUDA's 0; those shut to it are absent."""
    machine = simulated(gpus=[Gpu(constant(1.0), error=4), Gpu(constant(1.0)), Gpu(constant(1.0), error=4)])
    for allocated in (SECOND, Allocation("step", None, 1)):
        devices, findings = ask(machine, WHOSE, FINDINGS, allocation=allocated)
        assert devices == [("1", True, True, "")]
        assert [(status, remedy) for status, _, _, remedy in findings] == [("absent", ""), ("ok", ""), ("absent", "")]


def test_a_job_without_gpus_has_none(simulated: Simulated) -> None:
    """Where the site shuts all GPUs to a job there is nothing for its user to mend."""
    machine = simulated(gpus=[Gpu(constant(1.0), error=4)])
    devices, findings = ask(machine, WHOSE, FINDINGS, allocation=Allocation("job", None))
    assert (devices, [finding[0] for finding in findings]) == ([], ["absent"])


def test_a_gpu_of_the_job_that_cannot_be_read_is_told(simulated: Simulated) -> None:
    """Where each task sees its own GPU alone, the others of the job are unknown, and shut GPUs are no neighbours."""
    machine = simulated(gpus=[Gpu(constant(1.0)), Gpu(constant(1.0), error=4)])
    for allocated, of_job in ((Allocation("job", frozenset({0, 1}), 2), True), (Allocation("step", None, 2), None)):
        devices, findings = ask(machine, WHOSE, FINDINGS, allocation=allocated)
        assert [device[1:3] for device in devices] == [(of_job, True)]
        assert [finding[0] for finding in findings] == ["ok", "forbidden", "forbidden"]
        assert "--gpu-bind=none" in findings[-1][3]


def test_gpus_of_which_nothing_is_known_count_and_say_so(simulated: Simulated) -> None:
    """No indices, or a driver that does not tell its device files: counted as outside of a job, with a note."""
    note = "SLURM does not tell whether this GPU is the job's."
    (devices,) = ask(simulated(gpus=[Gpu(constant(1.0))]), WHOSE, allocation=Allocation("job", None))
    assert devices == [("0", None, True, note)]
    mute = [Gpu(constant(1.0), minor=-2, counter=False)]
    (devices,) = ask(simulated(gpus=mute), WHOSE, allocation=SECOND)
    assert devices[0][:3] == ("0", None, True)
    assert devices[0][3].startswith("This GPU has no energy counter")
    assert devices[0][3].endswith(note)


def test_a_gpu_of_the_job_may_be_asleep(simulated: Simulated) -> None:
    """It is neither woken nor missed, and marked when it joins."""
    machine = simulated(gpus=three(suspended=True))
    status = Path(machine.sysfs, "bus/pci/devices", machine.gpus[0].pci, "power/runtime_status")
    (first, missed, second) = ask(
        machine,
        WHOSE,
        "[finding.subject for finding in found.findings if finding.status == 'forbidden']",
        "[(device.of_job, device.counted) for device in joined.devices]",
        then=f"open({str(status)!r}, 'w').write('active')\njoined = found.later.open(machine)\n",
        allocation=Allocation("job", frozenset({2}), 1),
    )
    assert [device[1] for device in first] == [False, False]
    assert missed == []
    assert second == [(True, True)]
