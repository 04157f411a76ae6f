"""Words that more than one format uses for the same thing."""

from __future__ import annotations

KINDS = {"cpu": "CPU", "dram": "memory", "gpu": "GPU", "other": "other"}
METHODS = {"counter": "counted by the hardware", "power": "from its power, polled", "estimate": "estimated"}
MODELLED = "from a counter that the hypervisor models"
PUE_SOURCES = {
    "told": "as told",
    "assumed": "assumed, since nobody told it (--pue)",
    "what-if": "as this report was asked",
}
