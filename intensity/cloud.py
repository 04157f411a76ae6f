"""Which cloud this machine is a part of, if its firmware names one. Nobody is asked."""

from __future__ import annotations

import contextlib
from typing import Literal

Provider = Literal["aws", "azure", "gcp"]

TITLES: dict[Provider, str] = {"aws": "AWS", "azure": "Azure", "gcp": "Google Cloud"}

_AZURE_ASSET_TAG = "7783-7084-3265-9085-8269-3286-77"
"""Of each virtual machine in Azure (cloud-init's DataSourceAzure); any Hyper-V has the same vendor and product."""


def provider(sysfs_root: str) -> Provider | None:
    """Give the cloud that the firmware names, None if it names none or cannot be read.

    AWS: vendor "Amazon EC2" (Nitro and bare metal), or Xen of a version such as "4.11.amazon". Google: the product, as
    a Chromebook has Google for vendor too. Azure: its asset tag.
    """

    def says(name: str) -> str:
        with (
            contextlib.suppress(OSError),
            open(f"{sysfs_root}/class/dmi/id/{name}", encoding="ascii", errors="replace") as file,
        ):
            return file.read(256).strip()
        return ""

    if "Amazon EC2" in (says("sys_vendor"), says("bios_vendor")):
        return "aws"
    if says("sys_vendor") == "Xen" and says("product_version").endswith(".amazon"):
        return "aws"
    if says("product_name") in ("Google Compute Engine", "Google"):
        return "gcp"
    return "azure" if says("chassis_asset_tag") == _AZURE_ASSET_TAG else None
