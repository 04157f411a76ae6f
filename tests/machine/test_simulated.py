"""The simulated machine against itself: what can be read from it is what its profiles integrate to."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from machine.build import CannotBuild, program
from machine.command import Greenrun
from machine.gpus import Driver, Gpu
from machine.layouts import two_sockets_two_gpus
from machine.powercap import Zone
from machine.privilege import unprivileged
from machine.procfs import EPYC_7763
from machine.profiles import Profile, constant, square
from machine.simulated import SimulatedMachine
from machine.stamp import Stamp

Make = Callable[..., SimulatedMachine]


def counter(machine: SimulatedMachine, zone: str) -> tuple[float, int]:
    """Read a counter of the powercap class: the moment and the microjoules."""
    path = os.path.join(machine.sysfs, "class", "powercap", zone, "energy_uj")
    while True:
        with open(path) as file:
            before = time.monotonic()
            microjoules = int(file.read())
            if time.monotonic() - before < 0.0002:  # else the machine was busy with something else meanwhile
                return before, microjoules


def ask_nvml(machine: SimulatedMachine, *lines: str) -> list[str]:
    """Run lines of Python with the real pynvml in a process that finds the simulated library; give what they print."""
    script = "\n".join(["import time, pynvml as n", *lines])
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, env={**os.environ, **machine.environment}, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def riemann(profile: Profile, t0: float, t1: float, steps: int = 200_000) -> float:
    """Integrate by adding up powers."""
    width = (t1 - t0) / steps
    return sum(profile.power(t0 + (step + 0.5) * width) for step in range(steps)) * width


def test_energy_is_the_integral_of_power() -> None:
    """The closed form agrees with adding up powers, before the epoch too."""
    profile = constant(3.5) + square(10, 90, 1.3, 0.71, 0.3) + square(0, 7, 0.37, 0.2)
    for t0, t1 in ((0.0, 3.3), (1.234, 1.9), (-2.7, 4.1)):
        assert profile.energy(t0, t1) == pytest.approx(riemann(profile, t0, t1), rel=1e-4)
    assert profile.energy(2, 2) == 0
    assert profile.energy(0, 5) == pytest.approx(profile.energy(0, 2.2) + profile.energy(2.2, 5), rel=1e-12)


def test_counters_follow_their_profiles(two_sockets: SimulatedMachine) -> None:
    """Over three seconds every counter is within 0.1 % of the exact integral, the wrapping one too."""
    zones = {"intel-rapl:0": "package-0", "intel-rapl:0:1": "package-0/dram", "intel-rapl:1": "psys"}
    zones |= {"intel-rapl:2": "package-1", "intel-rapl:2:1": "package-1/dram"}
    first = {zone: counter(two_sockets, zone) for zone in zones}
    time.sleep(max(3.1, two_sockets.epoch + 4.0 - time.monotonic()))
    last = {zone: counter(two_sockets, zone) for zone in zones}
    two_sockets.stop()
    wrapped = []
    for zone, device in zones.items():
        (t0, before), (t1, after) = first[zone], last[zone]
        with open(os.path.join(two_sockets.sysfs, "class", "powercap", zone, "max_energy_range_uj")) as file:
            span = int(file.read())
        truth = two_sockets.device_energy_joules(f"rapl:{device}", t0, t1)
        late_joules = two_sockets.largest_update_gap_seconds * two_sockets.devices()[f"rapl:{device}"].peak_watts
        error = abs((after - before) % (span + 1) / 1e6 - truth)
        assert error < max(1e-3 * truth, late_joules)
        if after < before:
            wrapped.append(device)
    assert wrapped == ["package-0"]


def test_kinds_add_up(two_sockets: SimulatedMachine) -> None:
    """The truth of a kind is the sum of its devices; psys holds packages and dram, and is neither."""
    t0, t1 = two_sockets.epoch + 0.3, two_sockets.epoch + 7.7
    cpu, dram = two_sockets.energy_joules("cpu", t0, t1), two_sockets.energy_joules("dram", t0, t1)
    devices = [two_sockets.device_energy_joules(f"rapl:package-{number}", t0, t1) for number in (0, 1)]
    assert cpu == pytest.approx(sum(devices))
    assert two_sockets.energy_joules("other", t0, t1) == pytest.approx(cpu + dram + 43.1 * 7.4)


def test_powercap_is_laid_out_as_by_the_kernel(two_sockets: SimulatedMachine) -> None:
    """The class holds links to every zone, psys in the middle, mmio of a control type of its own."""
    folder = os.path.join(two_sockets.sysfs, "class", "powercap")
    names = {}
    for zone in os.listdir(folder):
        assert os.path.islink(os.path.join(folder, zone))
        if ":" in zone:
            names[zone] = Path(folder, zone, "name").read_text().strip()
    assert names == {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "dram",
        "intel-rapl:1": "psys",
        "intel-rapl:2": "package-1",
        "intel-rapl:2:0": "core",
        "intel-rapl:2:1": "dram",
        "intel-rapl-mmio:0": "package-0",
    }


def test_counters_that_misbehave(simulated: Make) -> None:
    """Reset, freeze, empty and garbage reads and removal happen when they are told to, on files that are held open."""
    power = constant(50)
    machine = simulated(
        packages=[
            Zone("package-0", power, initial_microjoules=10**9, reset_at=0.6),
            Zone("package-1", power, frozen=(0.6, 1.2)),
            Zone("package-2", power, spoilt=(0.6, 1.2)),
            Zone("package-3", power, spoilt=(0.6, 1.2), spoilt_text="garbage"),
            Zone("package-4", power, removed_at=0.6),
            Zone("package-5", power, broken=True),
        ],
        cpu=None,
    )
    folder = os.path.join(machine.sysfs, "class", "powercap")
    files = [os.open(os.path.join(folder, f"intel-rapl:{n}", "energy_uj"), os.O_RDONLY) for n in range(6)]

    def read(number: int) -> bytes:
        return os.pread(files[number], 64, 0)

    early = [int(read(number)) for number in range(5)]
    assert early[0] >= 10**9
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        read(5)
    time.sleep(max(0.0, machine.epoch + 0.9 - time.monotonic()))
    assert int(read(0)) < 10**9
    assert int(read(1)) == 30_000_000
    assert read(2) == b""
    assert read(3) == b"garbage"
    assert read(4) == b""
    assert not os.path.exists(os.path.join(folder, "intel-rapl:4", "energy_uj"))
    time.sleep(max(0.0, machine.epoch + 1.3 - time.monotonic()))
    assert all(int(read(number)) >= 60_000_000 for number in (1, 2, 3))
    for file in files:
        os.close(file)


def test_reads_are_never_torn(simulated: Make) -> None:
    """A counter that is read as fast as possible never goes back and always has its full length."""
    machine = simulated(packages=[Zone("package-0", constant(999))], cpu=None)
    file = os.open(os.path.join(machine.sysfs, "class", "powercap", "intel-rapl:0", "energy_uj"), os.O_RDONLY)
    values = [os.pread(file, 64, 0) for _ in range(200_000)]
    os.close(file)
    assert {len(value) for value in values} == {17}
    numbers = [int(value) for value in values]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 10


def test_forbidden_counter(simulated: Make) -> None:
    """What is forbidden cannot be read by an unprivileged command, root or not; what is not can."""
    zones = [Zone("package-0", constant(9), forbidden=True), Zone("package-1", constant(9))]
    folder = os.path.join(simulated(packages=zones, cpu=None).sysfs, "class", "powercap")
    for index, right in ((0, False), (1, True)):
        command = unprivileged(["cat", os.path.join(folder, f"intel-rapl:{index}", "energy_uj")])
        result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
        assert (result.returncode == 0) == right
        assert ("Permission denied" in result.stderr) != right


def test_masked_powercap_dangles(simulated: Make) -> None:
    """As in a container the links are there and lead nowhere."""
    machine = simulated(packages=[Zone("package-0", constant(9))], masked=True, cpu=None)
    link = os.path.join(machine.sysfs, "class", "powercap", "intel-rapl:0")
    assert os.path.islink(link)
    assert not os.path.exists(link)


def test_nvml_energy_counter(two_sockets: SimulatedMachine) -> None:
    """Through the real pynvml the counter shows its profile as of the last 20 ms, and the GPU without one says so."""
    said = ask_nvml(
        two_sockets,
        "n.nvmlInit()",
        "gpus = [n.nvmlDeviceGetHandleByIndex(i) for i in range(n.nvmlDeviceGetCount())]",
        "def read():",
        "    before, millijoules = time.monotonic(), n.nvmlDeviceGetTotalEnergyConsumption(gpus[0])",
        "    return before, millijoules, time.monotonic()",
        "print(*read())",
        "time.sleep(3)",
        "print(*read())",
        "try: n.nvmlDeviceGetTotalEnergyConsumption(gpus[1])",
        "except n.NVMLError_NotSupported: print('unsupported')",
    )
    (t0, first, t1), (t2, last, t3) = ((float(word) for word in said[start : start + 3]) for start in (0, 3))
    gpu = f"nvml:{two_sockets.gpus[0].uuid}"
    joules = (last - first) / 1e3
    assert two_sockets.device_energy_joules(gpu, t1, t2 - 0.02) - 0.002 <= joules
    assert joules <= two_sockets.device_energy_joules(gpu, t0 - 0.02, t3) + 0.002
    assert said[6] == "unsupported"


def test_nvml_power(simulated: Make) -> None:
    """Instant power is that of the profile, average power its mean, and field values say which is which."""
    profile = square(100, 300, 0.05, 0.0)  # high for the first ten seconds
    machine = simulated(gpus=[Gpu(profile, counter=False), Gpu(profile, average_seconds=100, instant=False)], cpu=None)
    said = ask_nvml(
        machine,
        "n.nvmlInit()",
        "a, b = [n.nvmlDeviceGetHandleByIndex(i) for i in (0, 1)]",
        "print(n.nvmlDeviceGetPowerUsage(a), n.nvmlDeviceGetPowerUsage(b))",
        "for gpu in (a, b):",
        "    for value in n.nvmlDeviceGetFieldValues(gpu, [186, 185, 1]):",
        "        print(value.nvmlReturn, value.valueType, value.value.uiVal)",
    )
    assert said[0] == "300000"
    assert int(said[1]) == pytest.approx(200_000, rel=0.1)
    assert said[2:5] == ["0", "1", "300000"]
    assert said[5:7] == ["0", "1"]
    assert [said[8], said[11], said[14], said[17]] == ["3", "3", "3", "3"]


def test_nvml_names_and_addresses(simulated: Make) -> None:
    """A GPU is found by index, UUID and PCI address, and tells its name, limit, utilisation and MIG mode."""
    machine = simulated(
        gpus=[Gpu(constant(1)), Gpu(constant(2), name="NVIDIA H100 PCIe", pci="0000:c1:00.0")], cpu=None
    )
    said = ask_nvml(
        machine,
        "n.nvmlInit()",
        "gpu = n.nvmlDeviceGetHandleByPciBusId('00000000:C1:00.0')",
        "print(n.nvmlDeviceGetUUID(gpu), n.nvmlDeviceGetName(gpu).replace(' ', '_'))",
        "gpu = n.nvmlDeviceGetHandleByUUID(n.nvmlDeviceGetUUID(gpu))",
        "print(n.nvmlDeviceGetPciInfo(gpu).busId, n.nvmlDeviceGetEnforcedPowerLimit(gpu))",
        "print(n.nvmlDeviceGetUtilizationRates(gpu).gpu, n.nvmlSystemGetDriverVersion())",
        "print(n.nvmlDeviceGetComputeRunningProcesses(gpu))",
        "try: n.nvmlDeviceGetMigMode(gpu)",
        "except n.NVMLError_NotSupported: print('no-mig')",
    )
    assert said == [
        machine.gpus[1].uuid,
        "NVIDIA_H100_PCIe",
        "00000000:C1:00.0",
        "700000",
        "63",
        "550.54.15",
        "[]",
        "no-mig",
    ]


def test_nvml_gpu_lost(simulated: Make) -> None:
    """A GPU that falls off the bus answers GPU_IS_LOST from that moment on; the other goes on."""
    machine = simulated(gpus=[Gpu(constant(90)), Gpu(constant(90), lost_at=0.0)], cpu=None)
    said = ask_nvml(
        machine,
        "n.nvmlInit()",
        "print(n.nvmlDeviceGetPowerUsage(n.nvmlDeviceGetHandleByIndex(0)))",
        "try: n.nvmlDeviceGetHandleByIndex(1)",
        "except n.NVMLError_GpuIsLost: print('lost')",
    )
    assert said == ["90000", "lost"]


@pytest.mark.parametrize(("code", "name"), [(9, "DriverNotLoaded"), (18, "LibRmVersionMismatch")])
def test_nvml_that_does_not_start(simulated: Make, code: int, name: str) -> None:
    """NVML fails with the code that was asked for."""
    machine = simulated(gpus=[], driver=Driver(init_error=code), cpu=None)
    said = ask_nvml(machine, "try: n.nvmlInit()", f"except n.NVMLError_{name} as error: print(error.value)")
    assert said == [str(code)]


def test_nvml_that_starts_slowly(simulated: Make) -> None:
    """The call of nvmlInit takes the time that it is told to take."""
    machine = simulated(gpus=[], driver=Driver(init_seconds=0.7), cpu=None)
    (seconds,) = ask_nvml(machine, "t = time.monotonic()", "n.nvmlInit()", "print(time.monotonic() - t)")
    assert float(seconds) >= 0.7


def test_nvml_does_not_survive_a_fork(simulated: Make) -> None:
    """A child of the process that initialised NVML gets an error, as with the real library."""
    machine = simulated(gpus=[Gpu(constant(90))], cpu=None)
    said = ask_nvml(
        machine,
        "import os",
        "n.nvmlInit()",
        "if os.fork(): os.wait()",
        "else:",
        "    try: print(n.nvmlDeviceGetCount())",
        "    except n.NVMLError_Unknown: print('unknown', flush=True)",
        "    os._exit(0)",
    )
    assert said == ["unknown"]


def test_nvml_wakes_who_is_asked(simulated: Make) -> None:
    """A sleeping GPU is suspended in sysfs, and the machine notices who wakes it."""
    machine = simulated(gpus=[Gpu(constant(90)), Gpu(constant(9), suspended=True)], cpu=None)
    status = os.path.join(machine.sysfs, "bus", "pci", "devices", machine.gpus[1].pci, "power", "runtime_status")
    assert Path(status).read_text() == "suspended\n"
    ask_nvml(machine, "n.nvmlInit()", f"n.nvmlDeviceGetHandleByPciBusId('{machine.gpus[0].pci}')")
    assert machine.woken() == []
    ask_nvml(machine, "n.nvmlInit()", "n.nvmlDeviceGetHandleByIndex(1)")
    assert machine.woken() == [machine.gpus[1].uuid]
    machine.set_runtime_status(machine.gpus[1], "active")
    assert Path(status).read_text() == "active\n"


@pytest.mark.parametrize("hypervisor", [True, False])
def test_procfs_tells_the_chosen_processor(simulated: Make, hypervisor: bool) -> None:
    """The cpuinfo file holds the brand, as many processors as it has, and the hypervisor's flag if there is one."""
    text = Path(simulated(cpu=EPYC_7763, hypervisor=hypervisor).procfs, "cpuinfo").read_text()
    assert text.count("model name      : AMD EPYC 7763 64-Core Processor\n") == 256
    assert (" hypervisor\n" in text) == hypervisor


def test_procfs_shows_the_real_processes(simulated: Make) -> None:
    """Processes are there from their first moment, and one's own folder is one's own."""
    root = simulated().procfs
    for _ in range(20):
        with subprocess.Popen(["sleep", "10"]) as process:
            assert Path(root, str(process.pid), "stat").read_text().startswith(f"{process.pid} ")
            process.kill()
    assert os.path.samefile(os.path.join(root, "self", "exe"), sys.executable)
    assert Path(root, "uptime").read_text()


def test_procfs_load(simulated: Make) -> None:
    """The stat file advances by the load that was asked for."""
    root = simulated(cpu=EPYC_7763, load=constant(0.25)).procfs

    def times() -> tuple[int, int]:
        user, _, _, idle = Path(root, "stat").read_text().split()[1:5]
        return int(user), int(idle)

    user, idle = times()
    time.sleep(0.5)
    user_later, idle_later = times()
    assert (user_later - user) / (user_later - user + idle_later - idle) == pytest.approx(0.25, abs=0.01)


def test_stamp_knows_its_life(stamp: Stamp) -> None:
    """The stamp's life lies within the time in which it was run, and is as long as it was told, spinning or not."""
    assert stamp.born() is None
    for spin in (False, True):
        before = time.monotonic()
        assert subprocess.run(stamp.command(0.25, 7, spin=spin)).returncode == 7
        born, ended = stamp.life()
        assert before <= born <= ended - 0.25
        assert ended <= time.monotonic()
        assert stamp.born() == born


def test_helpers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    """Even a process that is killed leaves no helper of the machine running."""
    script = (
        "import os, sys; from machine.powercap import Zone; from machine.profiles import constant\n"
        "from machine.simulated import SimulatedMachine\n"
        f"SimulatedMachine({str(tmp_path / 'm')!r}, packages=[Zone('package-0', constant(1))]).__enter__()\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    spec = str(tmp_path / "m" / "counters.spec").encode()
    deadline = time.monotonic() + 5
    while any(spec in line for line in command_lines()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(spec in line for line in command_lines())


def command_lines() -> Iterable[bytes]:
    """Give the command line of every process."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                yield Path("/proc", entry, "cmdline").read_bytes()
            except OSError:
                continue


def test_directory_goes_unless_it_was_given(tmp_path: Path) -> None:
    """A machine cleans up after itself, but leaves a directory that is not its own."""
    with SimulatedMachine() as machine:
        assert os.path.isdir(machine.procfs)
    assert not os.path.exists(machine.directory)
    with SimulatedMachine(tmp_path / "mine") as machine:
        pass
    assert os.path.isdir(machine.procfs)


def test_leftovers_are_found(tmp_path: Path, greenrun: Greenrun) -> None:
    """A process of greenrun's that goes on, a temporary file and a named pipe are told; other processes are not."""
    assert greenrun.leftovers() == []
    copy = tmp_path / "greenrun-daemon"
    copy.write_bytes(Path("/bin/sleep").read_bytes())
    copy.chmod(0o755)
    daemon = subprocess.Popen([copy, "30"], env=greenrun.environment())
    other = subprocess.Popen(["sleep", "30"], env=greenrun.environment())
    try:
        Path(greenrun.temporary, "x").touch()
        os.mkfifo(os.path.join(greenrun.cwd, "pipe"))
        while greenrun.processes() != {daemon.pid: "greenrun-daemon"}:
            time.sleep(0.01)
        found = greenrun.leftovers(seconds=0.1)
    finally:
        for process in (daemon, other):
            process.kill()
            process.wait()
    assert found == [
        f"process {daemon.pid} (greenrun-daemon)",
        os.path.join(greenrun.temporary, "x"),
        os.path.join(greenrun.cwd, "pipe"),
    ]


def test_greenrun_has_surroundings_of_its_own(greenrun: Greenrun, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outer GREENRUN_ variables are gone, those of the test are there, and None takes one away."""
    monkeypatch.setenv("GREENRUN_PUE", "9")
    monkeypatch.setenv("LANG", "C")
    environment = greenrun.environment({"GREENRUN_NAME": "x", "LANG": None})
    assert "GREENRUN_PUE" not in environment
    assert environment["GREENRUN_NAME"] == "x"
    assert "LANG" not in environment
    assert environment["HOME"] == greenrun.home


def test_no_compiler_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiler the machine says what is missing."""
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(CannotBuild, match="no compiler 'no-such-compiler' here: install one"):
        program("not-built-yet")


def test_phases_are_repeatable() -> None:
    """The same seed gives the same machine, another one another."""
    devices = [two_sockets_two_gpus(seed=seed).devices() for seed in (5, 5, 6)]
    assert devices[0] == devices[1] != devices[2]
