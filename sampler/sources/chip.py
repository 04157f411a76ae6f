"""A hwmon chip: what the modules that know such chips are handed."""

from __future__ import annotations

import os
from typing import NamedTuple


class Chip(NamedTuple):
    """A chip: its `name`, the `folder` with its files, and that of the hardware itself (a PCI or I2C `device`)."""

    name: str
    folder: str
    device: str

    @property
    def address(self) -> str:
        """What the kernel calls the hardware: 0000:c1:00.0, 1-0040, ACPI000D:00."""
        return os.path.basename(os.path.realpath(self.device))

    def has(self, file: str) -> bool:
        """Whether the chip has this file."""
        return os.path.exists(f"{self.folder}/{file}")
