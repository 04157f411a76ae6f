"""Epoch markers, wherever they come from: the job's marks file, a relay, a file that the job prints into.

Each goes into the log with a sample beside it; each finished epoch revises the prediction, and the first prediction is
told at once.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import TYPE_CHECKING, Any, Literal

from greenrun.sampler import epochs, prediction
from greenrun.sampler.follow import Follower
from greenrun.sampler.marksfile import MarksFile
from greenrun.sampler.progress import Point, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from greenrun.cli.config import Config
    from greenrun.sampler.loop import Sampler

_FOLLOW_SECONDS = 0.25
_MOST_EPOCHS = 100_000  # a number beyond is no plan but a slip, and must not cost the daemon its memory
_Told = Literal["marks", "output"]  # by the job itself, or in what it prints


class Markers:
    """The markers of one run. `note` gets the one line that is told while the command runs, `poll` tells of markers."""

    def __init__(
        self,
        sampler: Sampler,
        config: Config,
        grams_per_kwh: float | None,
        note: Callable[[str], None],
        poll: select.poll,
    ) -> None:
        self._sampler = sampler
        self._poll = poll
        self._total = config.epochs
        self._grams_per_joule = None if grams_per_kwh is None else grams_per_kwh * (config.pue or 1.0) / 3.6e6
        self._note = note
        self._series: dict[_Told, epochs.Series] = {"marks": epochs.Series(), "output": epochs.Series()}
        self._progress: dict[_Told, Progress] = {}  # empty until the command runs
        self._job_tells = False  # it sets markers itself: what it prints is the same epochs again
        self._predicted = 0
        self._told = False
        self._file: MarksFile | None = None
        self._relay: int | None = None
        self._relay_rest = b""
        self._followers: list[Follower] = []
        self.poll_seconds: float | None = None

    def open(self, marks_path: str | None, relay: int | None, job_output: Mapping[str, int]) -> None:
        """Open the places where markers come from.

        `marks_path` is the marks file, `relay` the pipe from the relay, `job_output` what to follow of the job's
        stdout and stderr where they are regular files: path, and the position at which its output begins.
        """
        if marks_path is not None:
            with contextlib.suppress(OSError):
                self._file = MarksFile(marks_path)
                if self._file.descriptor is not None:
                    self._poll.register(self._file.descriptor, select.POLLIN)
                self.poll_seconds = self._file.poll_seconds
        if relay is not None:
            os.set_blocking(relay, False)
            self._relay = relay
            self._poll.register(relay, select.POLLIN)
        for path, position in job_output.items():
            self._follow(path, position)
        if self._followers:
            self.poll_seconds = _FOLLOW_SECONDS

    def restore(self, events: Iterable[dict[str, Any]]) -> None:
        """Take over the epochs in the log of a sampler that died; what they used in joules it took with it."""
        for event in events:
            if event["event"] == "epoch" and self._progress:
                source = event["from"]
                self._series[source].accept(epochs.Mark(event["n"], event["of"], event["mark"]))
                self._progress[source].mark(event["n"], event["mark"], Point(event["t"], None))
                self._job_tells |= source == "marks"
                self._predicted = len(self._progress[source].finished)
                self._told = True

    def _follow(self, path: str, position: int) -> None:
        with contextlib.suppress(OSError, ValueError):  # no regular file: the relay's, or nothing to see
            follower = Follower(path, self._series["output"], position)
            if follower.file in {other.file for other in self._followers}:
                follower.close()
            else:
                self._followers.append(follower)

    def spawned(self, t: float) -> None:
        """Take the command's start, in seconds since the start of the run: the first epoch may begin here."""
        start = Point(t, self._sampler.total_joules())
        self._progress = {source: Progress(start) for source in self._series}

    def look(self) -> None:
        """Take what has arrived."""
        if self._file is not None:
            for line in self._file.lines():
                self._take_line(line, "marks")
        if self._relay is not None:
            self._read_relay(self._relay)
        for follower in self._followers:
            with contextlib.suppress(OSError):
                for mark in follower.read():
                    self._take_mark(mark, "output")

    def _read_relay(self, relay: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(relay, 65536):
                *lines, self._relay_rest = (self._relay_rest + data).split(b"\n")
                for line in lines:
                    self._take_line(line.decode("ascii", "replace"), "output")
            self._relay = None  # end of file: nobody relays any more
            self._poll.unregister(relay)

    def finish(self, wait_seconds: float) -> None:
        """Take the last markers, now that the command has ended; a relay has so long to hand on what it has read."""
        self.look()
        deadline = time.monotonic() + wait_seconds
        while self._relay is not None and select.select([self._relay], [], [], max(deadline - time.monotonic(), 0))[0]:
            self._read_relay(self._relay)
        for follower in self._followers:
            with contextlib.suppress(OSError):
                for mark in follower.finish():
                    self._take_mark(mark, "output")
            if follower.skipped_bytes:
                self._skipped(follower.skipped_bytes)

    def _take_line(self, line: str, source: _Told) -> None:
        marker = epochs.parse_marker(line)
        if isinstance(marker, epochs.Metric):
            self._sampler.write("metric", name=marker.name, value=marker.value)
        elif isinstance(marker, epochs.Skipped):
            self._skipped(marker.bytes)
        elif isinstance(marker, epochs.Mark):
            accepted = self._series[source].accept(marker)
            if accepted is not None:
                self._take_mark(accepted, source)

    def _skipped(self, number: int) -> None:
        self._sampler.warn(
            "output", f"{number} bytes of output came too fast to be searched for epochs; some may be missing."
        )

    def _take_mark(self, mark: epochs.Mark, source: _Told) -> None:
        self._sampler.sample()
        at = time.monotonic() if mark.at is None else mark.at
        self._sampler.write("epoch", at, n=mark.n, of=mark.of, mark=mark.mark, **{"from": source})
        self._job_tells |= source == "marks"
        if not self._progress:
            return
        progress = self._progress[source]
        progress.mark(mark.n, mark.mark, Point(at - self._sampler.started, self._sampler.total_joules()))
        if self._job_tells and source == "output":
            return
        total = self._total or mark.of
        if total is not None and len(progress.finished) > self._predicted and mark.n <= total <= _MOST_EPOCHS:
            self._predicted = len(progress.finished)
            self._predict(progress, total)

    def _predict(self, progress: Progress, total: int) -> None:
        setup = prediction.Cost(
            progress.first.t - progress.spawned.t, _difference(progress.first.joules, progress.spawned.joules)
        )
        done = [
            prediction.Cost(epoch.duration_seconds / epoch.count, _share(epoch.energy_joules, epoch.count))
            for epoch in progress.finished
            for _ in range(epoch.count)
        ]
        predicted = prediction.predict(setup, done, total)
        grams = None
        if predicted.energy_joules is not None and self._grams_per_joule is not None:
            grams = _scaled(predicted.energy_joules, self._grams_per_joule)
        fields: dict[str, Any] = {
            "after_epoch": predicted.after_epoch,
            "epochs": predicted.epochs,
            "duration_seconds": _interval(predicted.duration_seconds),
            "energy_joules": _interval(predicted.energy_joules),
            "co2e_grams": _interval(grams),
        }
        self._sampler.write("prediction", **fields)
        if not self._told:
            from greenrun.reports.terminal import prediction_line

            self._told = True
            self._note(prediction_line(fields))


def _share(joules: float | None, count: int) -> float | None:
    return None if joules is None else joules / count


def _difference(later: float | None, earlier: float | None) -> float | None:
    return None if later is None or earlier is None else later - earlier


def _scaled(interval: prediction.Interval, factor: float) -> prediction.Interval:
    return prediction.Interval(interval.value * factor, interval.low * factor, interval.high * factor)


def _interval(interval: prediction.Interval | None) -> dict[str, float] | None:
    return None if interval is None else {"value": interval.value, "low": interval.low, "high": interval.high}
