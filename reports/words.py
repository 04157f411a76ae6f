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
SHARED_BY = {
    "busy-time": "CPU time",
    "allocated-memory": "memory given",
    "used-memory": "memory used",
    "devices": "device",
    "slices": "its slice, estimated",
    "utilisation": "utilisation, estimated",
}
"""By what a job's part of a kind of device was told."""
