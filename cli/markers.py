"""Epoch markers, wherever they come from: the job's marks file, a relay, a file that the job prints into.

Each goes into the log with a sample beside it; each finished epoch revises the prediction. Each prediction is
handed to greenrun, for where it can take the place of the one before; those after 1, 2, 4, 8 ... epochs last.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from greenrun.cli.foresight import event_fields
from greenrun.cli.neighbours import Neighbours
from greenrun.sampler import epochs, phases, prediction
from greenrun.sampler.follow import BYTES_PER_SECOND, UNASKED_BYTES_PER_SECOND, Follower
from greenrun.sampler.marksfile import MarksFile
from greenrun.sampler.progress import Point, Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from greenrun.cli.config import Config
    from greenrun.cli.foresight import Foresight
    from greenrun.sampler.livejoules import Scope
    from greenrun.sampler.loop import Sampler

_MOST_EPOCHS = 20_000  # the record is made within two seconds; more would cost it, and the disk
# A job with very short epochs must neither keep the daemon busy nor fill the log. Marks that come faster than this, or
# than lines in a log that thins itself, get no sample of their own; and a prediction is made anew when there is a
# twentieth more to go by.
_CLOSEST_LINES_SECONDS = 0.02
_LINES_OF_A_RUN = 2000
_PREDICTED_ANEW = 20
_MOST_METRICS = 1000  # names; only the last value of each is told in the end
_METRICS_SECONDS = 1.0
_Told = Literal["marks", "output"]  # by the job itself, or in what it prints


class Tell(Protocol):
    """Tells the user something while the command runs."""

    def __call__(self, text: str, /, *, lasting: bool) -> None:
        """Tell a text; not `lasting`: only where it can take the place of the one before."""
        ...


class _Points(NamedTuple):
    """One moment, with the joules of the node and with those of the job."""

    node: Point
    job: Point


def _points(t: float, joules: tuple[float | None, float | None]) -> _Points:
    return _Points(Point(t, joules[0]), Point(t, joules[1]))


def _before(t: float, later: _Points) -> _Points:
    """Give an earlier moment, as if the power had been the same from the start of the run on."""

    def at(point: Point) -> Point:
        share = min(t / point.t, 1.0) if point.t > 0.0 else 1.0
        return Point(t, None if point.joules is None else share * point.joules)

    return _Points(at(later.node), at(later.job))


class _Progresses(NamedTuple):
    """The same epochs with the joules of the node and with those of the job: which count may be known only later."""

    node: Progress
    job: Progress

    def mark(self, n: int, mark: Literal["start", "end"], at: _Points) -> None:
        self.node.mark(n, mark, at.node)
        self.job.mark(n, mark, at.job)


class Markers:
    """The markers of one run. `note` gets what is told while the command runs, `poll` tells of markers."""

    def __init__(
        self,
        sampler: Sampler,
        config: Config,
        foresight: Foresight,
        note: Tell,
        poll: select.poll,
    ) -> None:
        self._sampler = sampler
        self._poll = poll
        self._planned = config.planned_epochs
        self._asked = config.epochs is not None
        self._pattern = epochs.pattern(config.epoch_pattern, config.epoch_marks)
        self._foresight = foresight
        self._note = note
        self._series: dict[_Told, epochs.Series] = {"marks": epochs.Series(), "output": epochs.Series()}
        self._progress: dict[_Told, _Progresses] = {}  # empty until the command is known to run
        self._early: list[tuple[epochs.Mark, _Told, _Points]] = []  # what it has told by then
        self._job_tells = False  # it sets markers itself: what it prints is the same epochs again
        self._marks = 0
        self._predicted = 0
        self._told = 0  # the number of epochs after which a lasting prediction was told
        self._of: dict[_Told, int] = {}  # as the newest mark with a total told it
        self._line_at = 0.0
        # CLOCK_MONOTONIC seconds and joules of node and job: at the last mark
        self._measured = sampler.started, (sampler.total_joules(), sampler.joules("job"))
        self._phases = phases.OpenPhases()
        self._metrics: dict[str, float] = {}
        self._unwritten_metrics: set[str] = set()
        self._metrics_at = 0.0
        self._file: MarksFile | None = None
        self._relay: int | None = None
        self._relay_rest = b""
        self._followers: dict[Follower, Neighbours] = {}

    def open(self, marks_path: str | None, relay: int | None, job_output: Mapping[str, int], owner: int) -> None:
        """Open the places where markers come from.

        `marks_path` is the marks file, `relay` the pipe from the relay, `job_output` what to follow of the job's
        stdout and stderr where they are regular files: path, and the position at which its output begins. `owner` is
        the process that the job has them from.
        """
        if marks_path is not None:
            with contextlib.suppress(OSError):
                self._file = MarksFile(marks_path)
                if self._file.descriptor is not None:
                    self._poll.register(self._file.descriptor, select.POLLIN)
        if relay is not None:
            os.set_blocking(relay, False)
            self._relay = relay
            self._poll.register(relay, select.POLLIN)
        for path, position in job_output.items():
            self._follow(path, position, owner)

    @property
    def poll_seconds(self) -> float | None:
        """How soon `look` wants to be called, whatever happens; None: there is nothing that `poll` does not tell."""
        waits = [max(follower.due - time.monotonic(), 0.0) for follower in self._followers]
        if self._file is not None and self._file.poll_seconds is not None:
            waits.append(self._file.poll_seconds)
        return min(waits, default=None)

    def restore(self, events: Iterable[dict[str, Any]]) -> None:
        """Take over the epochs in the log of a sampler that died; what they used in joules it took with it."""
        events = list(events)
        self._phases.restore(events)
        for event in events:
            if event["event"] == "epoch" and self._progress:
                source = event["from"]
                self._series[source].accept(epochs.Mark(event["n"], event["of"], event["mark"]))
                self._progress[source].mark(event["n"], event["mark"], _points(event["t"], (None, None)))
                self._job_tells |= source == "marks"
                self._learn_total(event["of"], source)
                self._predicted = self._told = len(self._progress[source].node.finished)

    def _follow(self, path: str, position: int, owner: int) -> None:
        try:
            rate = BYTES_PER_SECOND if self._asked else UNASKED_BYTES_PER_SECOND
            scanner = epochs.Scanner(self._series["output"], self._pattern, self._planned)
            follower = Follower(path, scanner, position, rate)
        except ValueError:  # no regular file: the relay's, or nothing to see
            return
        except OSError as error:
            if self._asked:
                name = os.path.realpath(path)
                self._sampler.warn("output", f"{name} cannot be read for epochs ({os.strerror(error.errno or 0)}).")
            return
        if follower.file in {other.file for other in self._followers}:
            follower.close()
        else:
            self._followers[follower] = Neighbours(os.path.realpath(path), follower.file, owner)

    def _is_ours_alone(self, follower: Follower) -> bool:
        """Whether no other run follows the same file; if one does, this one lets it be."""
        neighbours = self._followers[follower]
        if not neighbours.follow_it_too():
            return True
        del self._followers[follower]  # its descriptor stays open: by that the other run finds out, too
        self._sampler.warn(
            "output",
            f"{neighbours.path} is not searched for epochs, because another run that is watched prints there too.",
        )
        return False

    def spawned(self, t: float) -> None:
        """Take the command's start, in seconds since the start of the run: the first epoch may begin here."""
        early, self._early = self._early, []
        # Where the command has told of an epoch since, what was used until now is not what was used at its start.
        start = _before(t, early[0][2]) if early else _points(t, self._now_used())
        self._progress = {source: _Progresses(*map(Progress, start)) for source in self._series}
        for mark, source, points in early:
            late = [point._replace(t=max(point.t, t)) for point in points]
            self._go_on(mark, source, _Points(*late))

    def look(self) -> None:
        """Take what has arrived."""
        if self._file is not None:
            for line in self._file.lines():
                self._take_line(line, "marks")
        if self._relay is not None:
            self._read_relay(self._relay)
        for follower in list(self._followers):
            if follower.due <= time.monotonic():
                with contextlib.suppress(OSError):
                    self._take_followed(follower, follower.read())
        if self._unwritten_metrics and self._has_room_since(self._metrics_at, _METRICS_SECONDS):
            self._write_metrics()

    def _read_relay(self, relay: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(relay, 65536):
                *lines, self._relay_rest = (self._relay_rest + data).split(b"\n")
                for line in lines:
                    self._take_line(line.decode("ascii", "replace"), "output")
            self._relay = None  # end of file: nobody relays any more
            self._poll.unregister(relay)

    def finish(self, deadline: float) -> None:
        """Take the last markers, now that the command has ended; a relay may hand on what it has read until then."""
        self.look()
        while self._relay is not None and select.select([self._relay], [], [], max(deadline - time.monotonic(), 0))[0]:
            self._read_relay(self._relay)
        for follower in list(self._followers):
            with contextlib.suppress(OSError):
                self._take_followed(follower, follower.finish())
            if follower.skipped_bytes and (self._asked or self._marks):
                self._skipped(follower.skipped_bytes)
        self._write_metrics()

    def _take_followed(self, follower: Follower, marks: list[epochs.Mark]) -> None:
        if marks and self._is_ours_alone(follower):
            for mark in marks:
                self._take_mark(mark, "output")

    def _take_line(self, line: str, source: _Told) -> None:
        phase = phases.parse_marker(line)
        if phase is not None:
            self._take_phase(phase)
            return
        marker = epochs.parse_marker(line)
        if isinstance(marker, epochs.Metric):
            self._take_metric(marker)
        elif isinstance(marker, epochs.Skipped):
            self._skipped(marker.bytes)
        elif isinstance(marker, epochs.Mark):
            accepted = self._series[source].accept(marker)
            if accepted is not None:
                self._take_mark(accepted, source)

    def _has_room_since(self, before: float, seconds: float) -> bool:
        """Whether the log has room for another line of a kind that was last written `before`."""
        now = time.monotonic()
        return now - before >= max(seconds, (now - self._sampler.started) / _LINES_OF_A_RUN)

    def _take_metric(self, metric: epochs.Metric) -> None:
        if metric.name in self._metrics or len(self._metrics) < _MOST_METRICS:
            self._metrics[metric.name] = metric.value
            self._unwritten_metrics.add(metric.name)

    def _write_metrics(self) -> None:
        """Write the newest value of each metric that has changed: a job may tell its loss at every step."""
        self._metrics_at = time.monotonic()
        for name in sorted(self._unwritten_metrics):
            self._sampler.write("metric", name=name, value=self._metrics[name])
        self._unwritten_metrics.clear()

    def _skipped(self, number: int) -> None:
        sentence = f"{number} bytes of output came faster than they could be searched for epochs; some may be missing."
        self._sampler.warn("output", sentence)

    def _take_phase(self, mark: phases.PhaseMark) -> None:
        before = self._phases.is_full
        if not self._phases.accept(mark):
            if self._phases.is_full and not before:
                sentence = f"Only {phases.MOST_STRETCHES} stretches of {phases.MOST_NAMES} phases are kept of a run."
                self._sampler.warn("phases", sentence)
            return
        now = time.monotonic()
        if self._has_room_since(self._line_at, _CLOSEST_LINES_SECONDS):
            self._line_at = now
            self._sampler.sample()
        # What is told of before the run, or after now, was told by another clock.
        at = mark.at if mark.at is not None and self._sampler.started <= mark.at <= now else now
        self._sampler.write("phase", at, name=mark.name, mark=mark.mark)

    def _take_mark(self, mark: epochs.Mark, source: _Told) -> None:
        self._marks += 1
        if self._marks > _MOST_EPOCHS:
            if self._marks == _MOST_EPOCHS + 1:
                self._sampler.warn("output", f"Only the first {_MOST_EPOCHS} epoch markers of this run are kept.")
            return
        now = time.monotonic()
        if self._has_room_since(self._line_at, _CLOSEST_LINES_SECONDS):
            self._line_at = now
            self._sampler.sample()
        at = now if mark.at is None else min(mark.at, now)
        self._sampler.write("epoch", at, n=mark.n, of=mark.of, mark=mark.mark, **{"from": source})
        self._job_tells |= source == "marks"
        points = _points(at - self._sampler.started, self._used_until(at, now))
        if self._progress:
            self._go_on(mark, source, points)
        else:
            self._early.append((mark, source, points))

    def _now_used(self) -> tuple[float, float]:
        """Give the joules of node and job until now."""
        return self._sampler.total_joules(), self._sampler.joules("job")

    def _used_until(self, at: float, now: float) -> tuple[float, float]:
        """Give the joules until a moment between the last mark and now, as if the power had been the same all the time.

        A file is looked at a few times a second, and one look may find several marks.
        """
        since, (node, job) = self._measured
        share = min(max((at - since) / max(now - since, 1e-9), 0.0), 1.0)
        node_now, job_now = self._now_used()
        self._measured = max(at, since), (node + share * (node_now - node), job + share * (job_now - job))
        return self._measured[1]

    def _go_on(self, mark: epochs.Mark, source: _Told, points: _Points) -> None:
        """See what a mark means for the job, and predict the whole of it anew."""
        both = self._progress[source]
        both.mark(mark.n, mark.mark, points)
        scope = self._sampler.scope
        progress = both.node if scope == "node" else both.job
        self._foresight.expect()
        if self._job_tells and source == "output":
            return
        self._learn_total(mark.of, source)
        total = self._planned or self._of.get(source)
        more = len(progress.finished) - self._predicted
        enough = max(1, self._predicted // _PREDICTED_ANEW)
        if total is not None and more >= enough and mark.n <= total <= _MOST_EPOCHS and not progress.is_unclear:
            self._predicted = len(progress.finished)
            self._predict(progress, total, scope)

    def _learn_total(self, of: int | None, source: _Told) -> None:
        if of is not None:
            self._of[source] = of

    def _predict(self, progress: Progress, total: int, scope: Scope) -> None:
        planned = progress.planned(total)
        if len(progress.costs) >= planned:  # all is done, and what is done is no prediction
            return
        predicted = prediction.predict(progress.setup, progress.costs, planned)
        foreseen = None
        if predicted.energy_joules is not None:
            foreseen = self._foresight.foresee(
                progress.spawned, progress.newest, predicted.energy_joules, predicted.duration_seconds.value, scope
            )
        fields: dict[str, Any] = {
            "after_epoch": total - planned + predicted.after_epoch,
            "epochs": total,
            "rule": predicted.rule,
            "scope": scope,
            "duration_seconds": predicted.duration_seconds._asdict(),
            "energy_joules": predicted.energy_joules and predicted.energy_joules._asdict(),
            **event_fields(foreseen),
        }
        self._sampler.write("prediction", **fields)
        self._tell(fields, predicted.after_epoch)

    def _tell(self, prediction: dict[str, Any], after: int) -> None:
        from greenrun.reports import predicted

        lasting = after >= 2 * self._told
        if lasting:
            self._told = after
        counted = [meter.device for meter in self._sampler.meters if meter.device.counted]
        estimated = all(device.method == "estimate" for device in counted)
        self._note(predicted.line(prediction, estimated=estimated), lasting=lasting)
