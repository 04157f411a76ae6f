"""The verb `agent`: tells the machine's energy counters to those who may not read them, once a second.

It only ever speaks. Everybody gets the same line, that of the last whole second: to read when a client asks would let
the client choose the moment, and counters that are read at chosen or close moments betray what others compute
(`greenrun.sampler.published`). It is run by the site, as root, in the foreground: a service manager does the rest.
"""

from __future__ import annotations

import math
import os
import select
import signal
import time
from typing import TYPE_CHECKING

import click

from greenrun.cli import config, parse
from greenrun.cli.agent.clients import Clients
from greenrun.cli.agent.place import Place, Unsuitable
from greenrun.cli.run import say
from greenrun.sampler import published, sources
from greenrun.sampler.model import Counter, Device, Machine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greenrun.sampler.model import Finding, Source


def main(argv: list[str]) -> int:
    """Serve until SIGTERM, then 0; 1 where there is nothing to tell or no place to tell it. Raises UserError."""
    return 1 if parse.invoke(command, argv, "greenrun agent") == 1 else 0


@click.command(add_help_option=False, params=[parse.help_option()])
def command() -> int:
    """Tell this machine's energy counters to all its users, once a second, on a local socket.

    It is meant to be run by root, as a service. Its settings come from /etc/greenrun.toml and from variables:
    GREENRUN_AGENT names the socket, /run/greenrun/agent.sock unless told.
    """
    # No user's file and no project's: this is root's, wherever and by whom it was started.
    environ = {name: value for name, value in os.environ.items() if name.startswith("GREENRUN_")}
    settings = config.load({}, environ, cwd="/")
    for warning in settings.warnings:
        say(f"greenrun: {warning}")
    counters = Counters(Machine(settings.sysfs_root, settings.procfs_root, cpu_source=settings.cpu_source))
    if not counters.devices:
        _tell(counters.findings)
        say("greenrun: there is no energy counter that could be told")
        return 1
    try:
        place = Place(settings.agent)
    except Unsuitable as reason:
        say(f"greenrun: {reason}")
        return 1
    _tell(counters.findings)
    say(f"greenrun: telling {', '.join(device.id for device in counters.devices)} at {place.path}")
    try:
        return _serve(place, counters)
    finally:
        place.leave()


class Counters:
    """The energy counters of the machine, read by the same sources as in a run, and what was found of them."""

    def __init__(self, machine: Machine) -> None:
        self.devices: list[Device] = []
        self.findings: list[Finding] = []
        self._sources: list[Source] = []
        source = sources.guarded(machine)
        opened = source.open(machine)
        self.findings += opened.findings
        if opened.devices:
            self.devices += opened.devices
            self._sources.append(source)

    def read(self) -> bytes:
        """Read all of them now, as a line; a counter that gives nothing is null in it."""
        t = time.monotonic()
        readings = [reading for source in self._sources for reading in source.read()]
        return published.reading(t, [reading if isinstance(reading, Counter) else None for reading in readings])

    def warnings(self) -> list[str]:
        """Hand over what the sources have to say."""
        return [sentence for source in self._sources for _, sentence in source.warnings()]


def _serve(place: Place, counters: Counters) -> int:
    """Tell a line each second until a signal says that it is enough."""
    ended = _hear_signals()
    clients = Clients(place.listener)
    greeting = published.greeting(published.Greeting(_boot_id(), tuple(counters.devices)))
    line = counters.read()
    next_second = math.floor(time.monotonic()) + published.EACH_SECONDS
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(place.listener, select.POLLIN)
    while True:
        now = time.monotonic()
        if now >= next_second:
            line = counters.read()
            clients.tell(line)
            next_second = math.floor(now) + published.EACH_SECONDS
            for warning in counters.warnings():
                say(f"greenrun: {warning}")
            if not place.is_ours():
                say(f"greenrun: {place.path} was removed or replaced, so nobody can connect any more")
                return 1
            continue
        rests = clients.rests_until > now
        poll.modify(place.listener, 0 if rests else select.POLLIN)
        until = min(next_second, clients.rests_until) if rests else next_second
        ready = {descriptor for descriptor, _ in poll.poll((until - now) * 1000)}
        if ended in ready:
            return 0
        if place.listener.fileno() in ready:
            clients.let_in(greeting + line)


def _hear_signals() -> int:
    """Give a descriptor that becomes readable when the agent is to end."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return reader


def _tell(findings: Iterable[Finding]) -> None:
    for finding in findings:
        if finding.status != "ok":
            say(f"greenrun: {finding.sentence} {finding.remedy}".strip())


def _boot_id() -> str | None:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None
