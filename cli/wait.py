"""`--start greenest`: wait for the greenest time before the command starts, never past what the deadline allows.

Two clocks are gone by. The plan is a moment of UTC, which somebody may set; the deadline counts real time, suspended or
not, so that no step of the clock can move it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Protocol

from greenrun.cli import fetching, output, signals
from greenrun.cli.errors import UserError
from greenrun.cli.outcome import Outcome
from greenrun.cli.run import say
from greenrun.intensity import window
from greenrun.reports import forecast
from greenrun.sampler.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import NoReturn

    from greenrun.cli.config import Config

DURATION_SECONDS = 3600.0
"""How long a command is taken to run where nobody told."""

_ASK_AGAIN_SECONDS = 3600.0  # a forecast is renewed every hour
_NEAR_SECONDS = 60.0  # so close to the start nothing is asked and no plan changed any more
_SLICE_SECONDS = 30.0  # the longest sleep: after it the clocks are looked at again
_TICK_SECONDS = 1.0  # between two looks of a person at a terminal
_ECHO_COLUMNS = 2
_ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


def until_greenest(config: Config) -> None:
    """Come back when the command is to start. Raises UserError for options that make no sense together.

    Whatever else fails starts the command at once. A signal that ends a program ends greenrun here, and the command is
    never started.
    """
    _refuse(config)
    if config.start != "greenest" or config.deadline is None:
        return
    line = _Line() if not config.quiet and os.isatty(2) else None
    try:
        with _ended_by_signal(line):
            Waiting(
                config.duration or DURATION_SECONDS,
                config.deadline,
                assumed=config.duration is None,
                ask=lambda until, insist: fetching.ask(config, "forecast", to_utc=until, insist=insist),
                screen=_Silence() if config.quiet else line or _Lines(),
            ).wait()
    except Exception as error:  # noqa: BLE001  fail open: whatever it is, the job is worth more than its time of day
        say(
            f"greenrun: cannot wait for the greenest time ({type(error).__name__}: {error}); "
            "the command starts at once."
        )


def _refuse(config: Config) -> None:
    if config.start is None:
        told = "--deadline" if config.deadline is not None else "--duration"
        raise UserError(
            f"{told} must come with --start greenest, which waits for the greenest time before the deadline"
        )
    if config.start == "greenest" and config.deadline is None:
        raise UserError(
            "--start greenest must come with --deadline, such as --deadline 12h: when the command must be over"
        )
    duration = config.duration or DURATION_SECONDS
    if config.start == "greenest" and config.deadline is not None and duration > config.deadline:
        assumed = "" if config.duration else ", which is assumed where --duration does not tell it"
        length = forecast.plain(forecast.length(duration))
        raise UserError(f"--deadline must leave time for the command's {length}{assumed}")


class Screen(Protocol):
    """Where the user is told of the waiting."""

    tick_seconds: float  # how often it is to be shown how long is left
    hint: str  # how to leave, for who can

    def tell(self, sentence: str) -> None:
        """Tell something that stays."""
        ...

    def show(self, text: str) -> None:
        """Show what is going on, in the place of what was shown before."""
        ...

    def clear(self) -> None:
        """Take away what is shown: the command has the screen from here on."""
        ...


class Waiting:
    """One wait: the plan, and the clocks that it goes by.

    `assumed`: nobody told the duration. `ask` gives the forecast up to a moment; insisting, also where a call has just
    failed. `sleep` sleeps so many seconds, or less.
    """

    def __init__(
        self,
        duration_seconds: float,
        deadline_seconds: float,
        *,
        assumed: bool,
        ask: Callable[[datetime, bool], fetching.Reply],
        screen: Screen,
        clock: Clock | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        import time

        self._duration_seconds = duration_seconds
        self._assumed = assumed
        self._ask = ask
        self._screen = screen
        self._clock = clock or Clock()
        self._sleep = sleep or time.sleep
        self._latest = self._clock.boottime() + deadline_seconds - duration_seconds
        self._ask_next = 0.0
        self._told_failure = False

    def wait(self) -> None:
        """Come back when it is time, at the latest when what is left until the deadline is the duration."""
        plan = self._first_plan()
        while plan is not None:
            left = self._left(plan)
            boottime = self._clock.boottime()
            # A start that was slept through (a suspended machine) is looked for again, where there is time.
            if boottime >= self._ask_next and abs(left) > _NEAR_SECONDS and self._latest - boottime > _NEAR_SECONDS:
                plan = self._revised(plan)
                continue
            if left <= 0.0:
                break
            self._screen.show(f"starts in {forecast.length(left)}")
            self._sleep(min(left, self._screen.tick_seconds))
        self._screen.clear()

    def _first_plan(self) -> window.Plan | None:
        """Ask, and tell what comes of it; None to start at once."""
        reply, plan, now = self._plan(insist=True)
        if self._latest <= self._clock.boottime():
            self._screen.tell("the deadline leaves no time to wait; the command starts.")
        elif plan is None:
            why = forecast.no_plan(reply.place, *reply.answer, now, self._duration_seconds, None)
            self._screen.tell(f"the command starts at once: {why}.")
        elif plan.best.start_utc <= now:
            self._screen.tell(f"now is the greenest time{self._basis(reply, plan, now)}; the command starts.")
        else:
            self._screen.tell(f"{self._starts(plan, now)}{self._basis(reply, plan, now)}{self._screen.hint}.")
            return plan
        return None

    def _revised(self, plan: window.Plan) -> window.Plan | None:
        """Ask again: the new plan, the old one where there is none, None to start at once."""
        self._screen.show("asking for the newest forecast")
        reply, new, now = self._plan(insist=False)
        if new is None:
            if not self._told_failure:
                self._told_failure = True
                why = forecast.no_plan(reply.place, *reply.answer, now, self._duration_seconds, None)
                self._screen.tell(f"the forecast could not be renewed ({why}); the plan stands.")
            return plan
        self._told_failure = False
        if new.best.start_utc <= now:
            self._screen.tell(
                f"by the newest forecast now is the greenest time{self._basis(reply, new, now)}; the command starts."
            )
            return None
        if abs(new.best.start_utc - plan.best.start_utc) > timedelta(seconds=_NEAR_SECONDS):
            self._screen.tell(f"the forecast has changed: {self._starts(new, now)}{self._basis(reply, new, now)}.")
        return new

    def _plan(self, *, insist: bool) -> tuple[fetching.Reply, window.Plan | None, datetime]:
        self._ask_next = self._clock.boottime() + _ASK_AGAIN_SECONDS
        reply = self._ask(self._now() + timedelta(seconds=self._until_deadline()), insist)
        now, within = self._now(), self._until_deadline()  # asking may have taken its time
        deadline = now + timedelta(seconds=within)
        return reply, window.plan(reply.answer.spans, now, self._duration_seconds, deadline), now

    def _starts(self, plan: window.Plan, now: datetime) -> str:
        saves = "" if plan.saving is None else f", which by the forecast saves {forecast.saving(plan)} of its CO2e"
        return f"the command starts at {forecast.start(plan, now, None)}{saves}"

    def _basis(self, reply: fetching.Reply, plan: window.Plan, now: datetime) -> str:
        """Tell what the plan rests on: whose forecast, how far it reaches, and how long a job was thought of."""
        source = reply.answer.spans[0]
        zone = source.zone or source.country
        words = [f"{source.source}{f' for {zone}' if zone else ''}"]
        if plan.until_utc < now + timedelta(seconds=self._until_deadline() - 1.0):
            words.append(f"which ends at {forecast.clock(plan.until_utc, now, None)}")
        if self._assumed:
            words.append(f"for an assumed {forecast.length(self._duration_seconds)}: --duration tells better")
        return f" ({', '.join(words)})"

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.utc(), timezone.utc)

    def _until_deadline(self) -> float:
        return self._latest + self._duration_seconds - self._clock.boottime()

    def _left(self, plan: window.Plan) -> float:
        """Give the seconds until the plan's start or, if that is nearer, the last moment that keeps the deadline."""
        return min(plan.best.start_utc.timestamp() - self._clock.utc(), self._latest - self._clock.boottime())


class _Silence:
    """For --quiet."""

    tick_seconds = _SLICE_SECONDS
    hint = ""

    def tell(self, sentence: str) -> None:
        pass

    def show(self, text: str) -> None:
        pass

    def clear(self) -> None:
        pass


class _Lines(_Silence):
    """For a log file or a pipe: what changes, and nothing in between."""

    def tell(self, sentence: str) -> None:
        with _not_stopped_by_output():
            say(f"greenrun: {forecast.plain(sentence)}")


class _Line(_Lines):
    """For a terminal: a line at the bottom that is written over again and again."""

    tick_seconds = _TICK_SECONDS
    hint = "; Ctrl-C leaves without running it"

    def __init__(self) -> None:
        self._width = 0  # of what stands there

    def tell(self, sentence: str) -> None:
        import textwrap

        self.clear()
        lines = textwrap.wrap(
            f"greenrun: {sentence}", output.columns(2), subsequent_indent="  ", break_on_hyphens=False
        )
        with _not_stopped_by_output():
            say("\n".join(map(forecast.plain, lines)))

    def show(self, text: str) -> None:
        if not _in_foreground():
            return
        text = forecast.plain(f"greenrun: {text}")
        text = text[: max(0, output.columns(2) - 1 - _ECHO_COLUMNS)]  # a line that wraps cannot be written over
        self._write("\r" + text.ljust(self._width))
        self._width = len(text)

    def clear(self) -> None:
        if self._width:
            # With what the terminal may have written behind it when a key was pressed: ^C.
            self._write("\r" + " " * (self._width + _ECHO_COLUMNS) + "\r")
            self._width = 0

    def _write(self, text: str) -> None:
        with _not_stopped_by_output(), contextlib.suppress(OSError):
            os.write(2, text.encode())


def _in_foreground() -> bool:
    try:
        return os.tcgetpgrp(2) == os.getpgrp()
    except OSError:  # a terminal, and not the one that controls us: nobody else's job is in its foreground
        return True


@contextlib.contextmanager
def _not_stopped_by_output() -> Iterator[None]:
    """Let a job in the background write although its terminal says no (stty tostop): it was not asked to stop."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Ended(BaseException):
    """A signal that ends a program has come; no handler of errors on the way up may take it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def _ended_by_signal(line: _Line | None) -> Iterator[None]:
    """Clear the terminal's line before a signal ends greenrun; those that are ignored (nohup) stay ignored."""
    ours = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        for one in ours:
            signal.signal(one, signal.SIG_DFL)  # a second one does not wait for us
        raise _Ended(number)

    try:
        for number in ours:
            signal.signal(number, end)
        try:
            yield
        finally:
            for number in ours:
                signal.signal(number, signal.SIG_DFL)
    except _Ended as ended:
        if line is not None:
            line.clear()
        signals.leave(Outcome(ended.number))
