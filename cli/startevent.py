"""What the run log says of the run, the machine and the surroundings when it starts."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from greenrun import __version__
from greenrun.cli import ranks
from greenrun.cli.identity import mask_secrets
from greenrun.cli.surroundings import surroundings, text
from greenrun.sampler.runlog import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Collection

    from greenrun.cli.config import Config
    from greenrun.cli.identity import Run
    from greenrun.sampler.model import Device


class Start(NamedTuple):
    """The fields of the `start` event that are not the sampler's, and what is doubtful, a sentence each, by code."""

    fields: dict[str, Any]
    doubts: tuple[tuple[str, str], ...]


def start(run: Run, config: Config, devices: Collection[Device]) -> Start:
    """Look at the run, the machine and what is known of it; `devices` are those that are measured already."""
    from greenrun.cli import floor
    from greenrun.cli.allocated import allocated
    from greenrun.sampler import containers, hardware
    from greenrun.sampler.model import Machine

    machine = Machine(config.sysfs_root, config.procfs_root)
    processor = hardware.read_processor(machine.procfs)  # once: the kernel makes cpuinfo anew at each reading
    fields = start_fields(run, config)
    fields["machine"] |= {
        "virtual": processor.virtual,
        "own_process_ids": containers.has_own_process_ids(machine),
    }
    fields["allocated"] = allocated(run, machine, containers.all_cpus(machine, processor), fields["environment"])
    found = floor.find(config, os.environ, processor.brand, devices)
    fields["floor"] = found.field()
    doubts = [("container", sentence) for sentence in containers.doubts(machine)]
    if found.trouble:
        doubts.append(("floor", found.trouble))
    return Start(fields, tuple(doubts))


def start_fields(run: Run, config: Config) -> dict[str, Any]:
    """Give those of the fields that the run, the configuration and the environment tell."""
    fields: dict[str, Any] = {
        "schema": SCHEMA,
        "greenrun": __version__,
        "run_id": run.run_id,
        "parent_run_id": _parent_run_id(),
        "kind": run.kind,
        "name": text(run.name),
        "command": None,
        "host": os.uname().nodename,
        "user": _user(),
        "cwd": text(run.cwd),
        "machine": {"kernel": os.uname().release, "architecture": os.uname().machine, "cpus": os.cpu_count()},
        "environment": surroundings(os.environ),
        "for_ranks": run.kind == "command" and not config.every_rank and ranks.are_several(os.environ),
        "config": {
            "pue": config.pue,
            "country": config.country,
            "zone": config.zone,
            "intensity": config.intensity,
            "basis": config.basis,
            "scope": config.scope,
            "interval_seconds": config.interval,
            "epochs": config.epochs,
            "epoch_pattern": config.epoch_pattern,
            "epoch_marks": config.epoch_marks,
            "offline": config.offline,
            "budget": _budget(config),
        },
        "utc": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(run.utc)) + f".{int(run.utc % 1 * 1000):03d}Z",
        "boot_id": _boot_id(),
    }
    if config.record_command:
        command = mask_secrets(run.command)
        fields["command"] = [text(argument) for argument in command]
        if fields["command"] != command:
            import base64

            fields["command_base64"] = [base64.b64encode(os.fsencode(argument)).decode() for argument in command]
    return fields


def _budget(config: Config) -> dict[str, Any] | None:
    if config.budget is None:
        return None
    from greenrun.cli import budget

    return {**budget.read(config.budget)._asdict(), "action": config.budget_action}


def _parent_run_id() -> str | None:
    """Give the run inside which this one runs; a variable may hold anything, so only what has the form of a UUID."""
    told = os.environ.get("GREENRUN_RUN_ID", "")
    return told if len(told) == 36 and set(told) <= set("0123456789abcdef-") else None


def _user() -> str | None:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without a name
        return None


def _boot_id() -> str | None:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return None
