"""One frozen Config, from defaults < site < user < project < environment < flags."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Config:
    """What is in force for one run. Every value has been checked; None means "not told"."""

    log_dir: str = "greenrun-logs"  # as given; relative to the working directory
    name: str | None = None
    pue: float | None = None  # None: nobody told; 1.0 is assumed and said so
    country: str | None = None  # ISO 3166-1 alpha-2, upper case
    zone: str | None = None
    place_from: str | None = None  # where country or zone came from: "--country", "GREENRUN_COUNTRY", a file's path
    intensity: float | None = None  # grams of CO2e per kWh
    intensity_from: str | None = None
    interval: float = 1.0  # seconds between samples
    epochs: int | None = None
    quiet: bool = False
    offline: bool = False
    record_command: bool = True
    sysfs_root: str = "/sys"
    procfs_root: str = "/proc"
    warnings: tuple[str, ...] = ()  # an unknown GREENRUN_ variable, an unreadable file: one sentence each
