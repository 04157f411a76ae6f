"""The whole way from hardware to summary on simulated machines whose truth is known, the meters' troubles included.

Every run goes through the command line, and every record is held to the schema and to what `greenrun report` tells
again. The commands live for odd lengths of time, so that no rhythm of the sampler fits them by luck. What is asserted
leaves out how busy the machine of the tests is: the truth is taken over the life that the record tells, with an
allowance for how late the readings around its ends were. benchmarks/accuracy.py holds it to the command's own clock.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from machine.command import ENTRY, Greenrun
from machine.gpus import Driver, Gpu
from machine.layouts import two_sockets_two_gpus
from machine.powercap import DRAM_SPAN_MICROJOULES, Zone
from machine.privilege import unprivileged
from machine.procfs import EPYC_7763
from machine.profiles import Profile, constant, square
from machine.simulated import SimulatedMachine
from machine.stamp import Stamp

from greenrun import reports
from greenrun.sampler import runlog

Simulated = Callable[..., SimulatedMachine]

SCHEMA = json.loads((Path(reports.__file__).parent / "summary.schema.json").read_text())
POLL_SECONDS = 0.1  # of a GPU without counter
DRAM = Zone("dram", constant(11.9), span_microjoules=DRAM_SPAN_MICROJOULES)


class Told:
    """What a run has told, and what was true on its machine."""

    def __init__(self, machine: SimulatedMachine, stamp: Stamp, run_dir: str, text: str) -> None:
        self.machine = machine
        self.text = text
        with open(os.path.join(run_dir, "summary.json")) as file:
            self.record: dict[str, Any] = json.load(file)
        events = runlog.read(run_dir)
        started = events[0]["monotonic"]
        self._sampled = [started + event["t"] for event in events if event["event"] == "sample"]
        self._sampled.append(started + events[0]["devices"][0]["from_t"])
        (self.begin,) = (started + event["t"] for event in events if event["event"] == "spawned")
        self.end = self.begin + self.record["duration_seconds"]
        born, ended = stamp.life()
        assert self.begin <= born < self.begin + 0.5
        assert self.end - 0.5 < ended <= self.end

    def device(self, name: str) -> dict[str, Any]:
        """Give one device of the record."""
        (device,) = (device for device in self.record["devices"] if device["id"] == name)
        return dict(device)

    def codes(self) -> list[str]:
        """Give the codes of the warnings."""
        return [warned["code"] for warned in self.record["warnings"]]

    def warning(self, code: str) -> str:
        """Give the sentence of the one warning of this code."""
        (sentence,) = (warned["message"] for warned in self.record["warnings"] if warned["code"] == code)
        return str(sentence)

    def true_joules(self, name: str, from_seconds: float = 0.0, until: float = math.inf) -> float:
        """Give a device's true energy over the command's life, or over a part of it in seconds since its start."""
        return self.machine.device_energy_joules(name, self.begin + from_seconds, min(self.end, self.begin + until))

    def exact(self, name: str) -> None:
        """Hold a RAPL device to 0.2 %, and to what its power may do between the readings around the ends."""
        profile = self.machine.devices()[name]
        late = self._bracket(self.begin) + self._bracket(self.end)
        stale = self.machine.largest_update_gap_seconds
        allowed = 0.002 * self.true_joules(name) + late / 2 * swing(profile) + stale * profile.peak_watts
        assert abs(self.device(name)["energy_joules"] - self.true_joules(name)) <= allowed, name

    def _bracket(self, t: float) -> float:
        """Give the time between the samples before and after a moment."""
        return min(s for s in self._sampled if s >= t) - max(s for s in self._sampled if s <= t)


def swing(profile: Profile) -> float:
    """Give by how many watts a profile goes up and down."""
    return math.fsum(part.high_watts - part.low_watts for part in profile.parts)


@pytest.fixture
def run(greenrun: Greenrun, stamp: Stamp, run_dirs: Callable[[], list[str]]) -> Callable[..., Told]:
    """Run a command of some seconds on a machine, hold the record to its schema and to `greenrun report`."""

    def measure(machine: SimulatedMachine, seconds: float, *options: str, as_anyone: bool = False) -> Told:
        command = [ENTRY, *options, *stamp.command(seconds, 3)]
        result = subprocess.run(
            unprivileged(command) if as_anyone else command,
            env=greenrun.environment(machine.environment),
            cwd=greenrun.cwd,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        machine.stop()
        assert (result.returncode, result.stdout) == (3, "")
        (run_dir,) = run_dirs()
        told = Told(machine, stamp, run_dir, result.stderr)
        jsonschema.validate(told.record, SCHEMA, cls=jsonschema.Draft202012Validator)
        again = greenrun("report", run_dir, "--json")
        assert (again.returncode, json.loads(again.stdout)) == (0, told.record), again.stderr
        energy = told.record["energy_joules"]
        counted = [device for device in told.record["devices"] if device["counted"]]
        assert energy["total"] == pytest.approx(math.fsum(device["energy_joules"] or 0.0 for device in counted))
        assert all(device["uncertainty_percent"] > 0 for device in told.record["devices"])
        assert told.record["uncertainty_percent"] > 0
        return told

    return measure


def test_two_sockets_and_two_gpus(run: Callable[..., Told]) -> None:
    """Packages and memory within 0.2 %, one of them over a wrap; psys beside the total, mmio nowhere; both GPUs."""
    with two_sockets_two_gpus(wraps_at=3.7, seed=7) as machine:
        told = run(machine, 4.37)
        counted, polled = (f"nvml:{gpu.uuid}" for gpu in machine.gpus)
        rapl = [name for name in machine.devices() if name.startswith("rapl:")]
        assert {device["id"] for device in told.record["devices"]} == {*rapl, counted, polled}
        for name in rapl:
            told.exact(name)
        assert (told.device("rapl:psys")["counted"], told.record["energy_joules"]["other"]) == (False, None)
        # The counter moves every 20 ms; what was used before NVML was up is filled, and told to be.
        gpu, truth = told.device(counted), told.true_joules(counted)
        assert gpu["method"] == "counter"
        assert abs(gpu["energy_joules"] - truth) <= 0.006 * truth + gpu["filled_joules"] + 0.02 * 409.0
        # At each edge of the wave a straight line is drawn across the time between two readings.
        gpu, truth = told.device(polled), told.true_joules(polled)
        edges = 2 * 0.43 * told.record["duration_seconds"] + 1
        assert gpu["method"] == "power"
        assert abs(gpu["energy_joules"] - truth) <= edges * POLL_SECONDS * 117.0 + gpu["filled_joules"]
        assert {gpu["from_t"] is not None, gpu["filled_joules"] > 0} == {True}
        assert told.record["status"] == "complete"
        assert set(told.codes()) <= {"late"}, "and that only if filling took more than a hundredth"
        assert all(device["trusted"] for device in told.record["devices"])


def test_dies_add_up(run: Callable[..., Told], simulated: Simulated) -> None:
    """The dies of a package have counters of their own, and each counts."""
    dies = [Zone("package-0-die-0", constant(61.3)), Zone("package-0-die-1", constant(47.9))]
    told = run(simulated(packages=dies), 1.83)
    for die in dies:
        told.exact(f"rapl:{die.name}")
    assert told.record["energy_joules"]["cpu"] == pytest.approx(109.2 * told.record["duration_seconds"], rel=0.01)
    assert told.device("estimate:dram")["method"] == "estimate"


def test_a_counter_that_is_reset(run: Callable[..., Told], simulated: Simulated) -> None:
    """The interval of the reset is dropped and told; nothing absurd is added, and the rest is exact."""
    zone = Zone("package-0", constant(150.0), (DRAM,), initial_microjoules=10**11, reset_at=2.6)
    told = run(simulated(packages=[zone]), 4.1)
    truth, joules = told.true_joules("rapl:package-0"), told.device("rapl:package-0")["energy_joules"]
    (gap,) = told.record["gaps"]
    assert (gap["device"], gap["code"]) == ("rapl:package-0", "reset")
    assert joules == pytest.approx(truth - gap["duration_seconds"] * 150.0, rel=0.01)
    assert gap["duration_seconds"] < 1.5
    assert "package-0" in told.warning("reset")
    assert "reset" in told.text
    assert told.record["status"] == "partial"
    told.exact("rapl:package-0/dram")


def test_readings_that_are_torn(run: Callable[..., Told], simulated: Simulated) -> None:
    """Empty for a second, torn for a second: the counters went on, and so does the account, without a loss."""
    dram = Zone("dram", constant(11.9), spoilt=(1.4, 2.4), spoilt_text="12", span_microjoules=DRAM_SPAN_MICROJOULES)
    zone = Zone("package-0", constant(83.0), (dram,), spoilt=(1.3, 2.3))
    told = run(simulated(packages=[zone]), 3.3)
    told.exact("rapl:package-0")
    told.exact("rapl:package-0/dram")
    assert (told.record["status"], told.record["warnings"]) == ("complete", [])


@pytest.mark.parametrize("trouble", [{"spoilt": (1.8, math.inf)}, {"frozen": (1.8, math.inf)}])
def test_a_counter_that_falls_silent(run: Callable[..., Told], simulated: Simulated, trouble: dict[str, Any]) -> None:
    """Nothing new to the end of the run is no zero: the stretch is told as missing."""
    told = run(simulated(packages=[Zone("package-0", constant(83.0), (DRAM,), **trouble)]), 3.1)
    (gap,) = told.record["gaps"]
    assert (gap["device"], gap["code"]) == ("rapl:package-0", "gap")
    assert "package-0" in told.warning("gap")
    assert told.record["status"] == "partial"
    joules = told.device("rapl:package-0")["energy_joules"]
    assert joules == pytest.approx(told.true_joules("rapl:package-0", until=gap["from"]), abs=1.1 * 83.0)
    assert joules < told.true_joules("rapl:package-0") - 20.0


def test_counters_that_may_not_be_read(run: Callable[..., Told], simulated: Simulated) -> None:
    """Forbidden is a warning with the rule that helps; the estimate stands in and says so."""
    dram = Zone("dram", constant(11.9), forbidden=True)
    told = run(simulated(packages=[Zone("package-0", constant(83.0), (dram,), forbidden=True)]), 1.1, as_anyone=True)
    assert "/etc/udev/rules.d" in told.warning("source")
    assert "may not read" in told.warning("source")
    assert {(device["id"], device["method"]) for device in told.record["devices"]} == {
        ("estimate:cpu", "estimate"),
        ("estimate:dram", "estimate"),
    }
    assert "estimated, no meter" in " ".join(told.text.split())
    assert told.record["energy_joules"]["total"] > 0


def test_counters_that_a_container_hides(run: Callable[..., Told], simulated: Simulated) -> None:
    """Links that lead nowhere are not broken hardware; the finding has the remedy."""
    told = run(simulated(packages=[Zone("package-0", constant(83.0))], masked=True), 1.1)
    (finding,) = (finding for finding in told.record["findings"] if finding["source"] == "rapl")
    assert finding["status"] == "absent"
    assert "--security-opt" in finding["remedy"]
    assert {device["method"] for device in told.record["devices"]} == {"estimate"}
    assert told.record["status"] == "complete"


def test_counters_that_a_hypervisor_models(run: Callable[..., Told], simulated: Simulated) -> None:
    """Under a hypervisor a counter is never called measured."""
    zone = Zone("package-0", constant(83.0), (DRAM,))
    told = run(simulated(packages=[zone], hypervisor=True, cpu=EPYC_7763), 1.1)
    told.exact("rapl:package-0")
    device = told.device("rapl:package-0")
    assert (device["method"], device["trusted"]) == ("counter", False)
    assert device["uncertainty_percent"] >= 49.9
    assert "a counter that the hypervisor models" in " ".join(told.text.split())


def test_a_gpu_that_is_lost(run: Callable[..., Told], simulated: Simulated) -> None:
    """Half-way off the bus: its joules until then are kept, its end is told, and the record is partial."""
    lost, kept = Gpu(constant(240.0), lost_at=2.6), Gpu(constant(120.0))
    machine = simulated(packages=[Zone("package-0", constant(83.0), (DRAM,))], gpus=[lost, kept])
    told = run(machine, 4.3)
    first, second = (told.device(f"nvml:{gpu.uuid}") for gpu in machine.gpus)
    lost_at = machine.epoch + 2.6 - told.begin
    assert "was lost" in told.warning("lost")
    assert told.record["status"] == "partial"
    assert first["until_t"] == pytest.approx(lost_at, abs=1.2)
    assert first["energy_joules"] == pytest.approx(240.0 * first["until_t"], abs=240.0 * 0.05)
    assert second["energy_joules"] == pytest.approx(told.true_joules(second["id"]), rel=0.02)
    assert "partial" in told.text.splitlines()[0]


def test_a_driver_of_another_version(run: Callable[..., Told], simulated: Simulated) -> None:
    """Library and driver do not match: broken, told with the remedy, and the processor is measured all the same."""
    machine = simulated(
        packages=[Zone("package-0", constant(83.0), (DRAM,))],
        gpus=[Gpu(constant(240.0))],
        driver=Driver(init_error=18),
    )
    told = run(machine, 1.3)
    assert "Reboot, or reload the kernel module" in told.warning("source")
    (finding,) = (finding for finding in told.record["findings"] if finding["source"] == "nvml")
    assert finding["status"] == "broken"
    assert told.record["energy_joules"]["gpu"] is None
    told.exact("rapl:package-0")


def test_no_meter_at_all(run: Callable[..., Told], simulated: Simulated) -> None:
    """A plain machine: an estimate from load and memory, called that in the summary's first lines."""
    told = run(simulated(cpu=EPYC_7763, load=square(0.2, 0.8, 0.7, 0.3)), 1.7)
    assert {device["method"] for device in told.record["devices"]} == {"estimate"}
    assert told.record["status"] == "complete"
    assert told.record["energy_joules"]["cpu"] > 0
    assert told.record["energy_joules"]["dram"] > 0
    assert told.record["energy_joules"]["gpu"] is None
    assert told.record["uncertainty_percent"] >= 49.9
    assert "estimated, no meter on this machine" in " ".join(" ".join(told.text.splitlines()[:3]).split())
