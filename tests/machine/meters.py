"""Layouts of sysfs as the kernel makes them for meters that are not RAPL: names, units, folders and links.

Written after the kernel's own documentation and drivers, which each function names. The files are plain: a test that
wants a counter to advance writes into it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

AMD, INTEL = "0x1002", "0x8086"


def hwmon(root: Path, number: int, name: str, files: Mapping[str, object], hardware: str) -> Path:
    """Make a hwmon chip of a piece of hardware (its path below devices/) and give the folder of its files.

    Documentation/hwmon/sysfs-interface.rst: /sys/class/hwmon/hwmonN is a link into the hardware's folder, and `device`
    in it is one back.
    """
    device = root / "devices" / hardware
    folder = device / "hwmon" / f"hwmon{number}"
    folder.mkdir(parents=True)
    write(folder, {"name": name, **files})
    os.symlink(os.path.relpath(device, folder), folder / "device")
    chips = root / "class" / "hwmon"
    chips.mkdir(parents=True, exist_ok=True)
    os.symlink(os.path.relpath(folder, chips), chips / folder.name)
    return folder


def pci_gpu(
    root: Path, number: int, name: str, address: str, files: Mapping[str, object], *, status: str = "active"
) -> Path:
    """Make a GPU on the PCI bus with the hwmon chip of its driver (amdgpu, i915, xe)."""
    hardware = f"pci0000:00/0000:00:01.0/{address}"
    folder = hwmon(root, number, name, files, hardware)
    device = root / "devices" / hardware
    vendor, model = (AMD, "0x744c") if name == "amdgpu" else (INTEL, "0x56a0")
    write(device, {"vendor": vendor, "device": model, "class": "0x030000"})
    write(device / "power", {"runtime_status": status, "control": "auto"})
    return folder


def amd_card(root: Path, microwatts: int, *, address: str = "0000:03:00.0", status: str = "active") -> Path:
    """Make a card by amdgpu (drivers/gpu/drm/amd/pm/amdgpu_pm.c, hwmon)."""
    files = {
        "power1_average": microwatts,
        "power1_cap": 303_000_000,
        "power1_label": "PPT",
        "in0_input": 900,
        "in0_label": "vddgfx",
        "temp1_input": 41_000,
        "temp1_label": "edge",
    }
    return pci_gpu(root, 4, "amdgpu", address, files, status=status)


def amd_apu(root: Path, microwatts: int) -> Path:
    """Make the GPU within a processor: it has the northbridge's voltage, and newer kernels say `power1_input`."""
    files = {
        "power1_input": microwatts,
        "power1_label": "PPT",
        "in0_input": 700,
        "in0_label": "vddgfx",
        "in1_input": 800,
        "in1_label": "vddnb",
    }
    return pci_gpu(root, 5, "amdgpu", "0000:c4:00.0", files)


def intel_card(root: Path, microjoules: int, *, driver: str = "i915", status: str = "active") -> Path:
    """Make a card by i915 or xe (Documentation/ABI/testing/sysfs-driver-intel-i915-hwmon, -xe-hwmon)."""
    files: dict[str, object] = {"energy1_input": microjoules, "power1_max": 190_000_000, "in0_input": 700}
    if driver == "xe":
        files |= {"energy1_label": "card", "energy2_input": microjoules // 2, "energy2_label": "pkg"}
    folder = pci_gpu(root, 6, driver, "0000:0a:00.0", files, status=status)
    if driver == "i915":  # each tile has a chip of its own, which tells again what the card's tells
        hwmon(root, 7, "i915_gt0", {"energy1_input": microjoules // 2}, "pci0000:00/0000:00:01.0/0000:0a:00.0")
    return folder


def acpi_meter(
    root: Path, number: int, microwatts: int, *, info: str = "", interval: object = 1000, old: bool = False
) -> Path:
    """Make an ACPI power meter (Documentation/hwmon/acpi_power_meter.rst) and give the folder of its files.

    `old`: as before Linux 6.13 or so, with the files in the ACPI device's folder, the name too.
    """
    files: dict[str, object] = {
        "power1_average": microwatts,
        "power1_average_interval": interval,
        "power1_accuracy": "100.0%",
        "power1_is_battery": 0,
        "power1_oem_info": info,
        "power1_model_number": "",
        "power1_serial_number": "",
    }
    hardware = f"LNXSYSTM:00/LNXSYBUS:00/ACPI000D:{number:02d}"
    if not old:
        return hwmon(root, number, "power_meter", files, hardware)
    folder = hwmon(root, number, "power_meter", {}, hardware)
    (folder / "name").unlink()
    write(root / "devices" / hardware, {"name": "power_meter", **files})
    return root / "devices" / hardware


def grace(root: Path, watts: Mapping[str, float], *, first: int = 0) -> dict[str, Path]:
    """Make the meters of a Grace socket: {"Module Power Socket 0": 532.0, ...}."""
    return {
        info: acpi_meter(root, number, round(power * 1e6), info=info, interval=50)
        for number, (info, power) in enumerate(watts.items(), first)
    }


def ina3221(root: Path, number: int, rails: Mapping[int, tuple[str, int, int]]) -> Path:
    """Make a Jetson's INA3221 (Documentation/hwmon/ina3221.rst): by channel the label, millivolts and milliamperes."""
    files: dict[str, object] = {}
    for channel, (label, millivolts, milliamperes) in rails.items():
        files |= {
            f"in{channel}_label": label,
            f"in{channel}_enable": 1,
            f"in{channel}_input": millivolts,
            f"curr{channel}_input": milliamperes,
        }
    # channels 4 to 7 are the shunts' voltages and the sum of them
    files |= {"in4_input": 12, "in5_input": 7, "in6_input": 3, "in7_label": "sum of shunt voltages", "in7_input": 22}
    return hwmon(root, number, "ina3221", files, f"platform/c240000.i2c/i2c-1/1-00{40 + number % 2}")


def agx_orin(root: Path) -> tuple[Path, Path]:
    """Make the two chips of a Jetson AGX Orin: 20.0, 10.0, 5.0 and 1.0 W."""
    first = {1: ("VDD_GPU_SOC", 5000, 4000), 2: ("VDD_CPU_CV", 5000, 2000), 3: ("VIN_SYS_5V0", 5000, 1000)}
    return ina3221(root, 2, first), ina3221(root, 3, {2: ("VDDQ_VDD2_1V8AO", 5000, 200)})


def cray(root: Path, joules: Mapping[str, int], *, stamped: bool = True) -> Path:
    """Make pm_counters, {"energy": 1000, "cpu_energy": 500, "accel0_energy": 300}, and give their folder.

    HPE Cray EX: "1000 J 1447097391000 us"; the XC series: "1000 J".
    """
    folder = root / "cray" / "pm_counters"
    stamp = " 1447097391000 us" if stamped else ""
    files: dict[str, object] = {name: f"{value} J{stamp}" for name, value in joules.items()}
    files |= {"freshness": 42, "generation": 1, "raw_scan_hz": 10, "version": 2, "startup": 1447000000}
    files |= {"power": f"321 W{stamp}", "cpu_power": f"120 W{stamp}", "power_cap": "0 W"}
    write(folder, files)
    return folder


def battery(root: Path, name: str = "BAT0", *, status: str = "Discharging", **files: object) -> Path:
    """Make a battery (Documentation/ABI/testing/sysfs-class-power) and give its folder."""
    folder = root / "class" / "power_supply" / name
    write(folder, {"type": "Battery", "status": status, "present": 1, "capacity": 73, **files})
    return folder


def mains(root: Path, online: int) -> None:
    """Make an adapter."""
    write(root / "class" / "power_supply" / "AC", {"type": "Mains", "online": online})


def pmu(
    root: Path, kind: int, events: Mapping[str, str], *, cpumask: str = "0", scale: str = "2.3283064365386962890625e-10"
) -> Path:
    """Make the energy PMU (arch/x86/events/rapl.c, sysfs-bus-event_source-devices-events) and give its folder.

    `events`: {"energy-pkg": "event=0x02"}.
    """
    folder = root / "bus" / "event_source" / "devices" / "power"
    write(folder, {"type": kind, "cpumask": cpumask})
    for name, event in events.items():
        write(folder / "events", {name: event, f"{name}.scale": scale, f"{name}.unit": "Joules"})
    return folder


def topology(root: Path, cpu: int, package: int, *, die: int = 0, dies: int = 1) -> None:
    """Tell of a CPU in which package and die it is (Documentation/ABI/stable/sysfs-devices-system-cpu)."""
    files = {
        "physical_package_id": package,
        "die_id": die,
        "package_cpus_list": "0-7",
        "die_cpus_list": "0-7" if dies == 1 else f"{die * 4}-{die * 4 + 3}",
    }
    write(root / "devices" / "system" / "cpu" / f"cpu{cpu}" / "topology", files)


def write(folder: Path, files: Mapping[str, object]) -> None:
    """Write files as the kernel shows them, each with its line end."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name).write_text(f"{value}\n")
