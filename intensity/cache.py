"""What services have answered, kept in files that all processes of one user share: they make one request an hour.

One file holds what one service said of one zone. Who wants to know more than it says takes the file's lock and asks;
the others wait for the lock or for the answer, whichever is there first. A failure is kept for a while too, so that a
service which is down is not asked by each of a hundred jobs. Nothing here raises: where no file can be kept, everyone
asks.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from greenrun.intensity import series
from greenrun.intensity.model import Basis, Cause, Intensity, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_FORM = 1  # of the files; another one's are not read
_KEPT = timedelta(hours=72)  # of history: a job of two days finds its hours again
_LARGEST_BYTES = 4 << 20  # a file of 72 h in 5-minute steps has 0.4 MB
_HOUR = timedelta(hours=1)
_FAILURE_HOLDS = timedelta(seconds=60)
_LONGEST_HOLD = timedelta(hours=1)  # whatever a service asks for
_SKEW = timedelta(seconds=60)
"""So much later than the caller's `now` may what is in the file be: it was written while the caller waited."""
_FIRST_POLL_SECONDS, _LAST_POLL_SECONDS = 0.02, 0.32  # each twice the one before: a hundred that wait are no load
_PENDING = "no answer yet"

LONGEST_WAIT_SECONDS = 8.0
"""For another process that asks the same: a request has 5 s, so it is stuck, or what it asks needs several."""

PATIENT_WAIT_SECONDS = 40.0
"""The same for one that nobody waits for: where a hundred jobs start, who asks may be long without a processor."""

# What reading a file of any content may raise.
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)

Kind = Literal["history", "forecast"]


class Question(NamedTuple):
    """What is asked of one service: `kind` for a `zone`, as it names it, on a `basis`, over a stretch of time."""

    link: str
    address: str
    zone: str
    basis: Basis
    kind: Kind
    from_utc: datetime
    to_utc: datetime


class Cached(NamedTuple):
    """What is known: `spans` in order of time. Where `failure` is not None they are old ones, or none."""

    spans: list[Intensity]
    failure: Unavailable | None


class _Failure(NamedTuple):
    at: datetime
    until: datetime
    cause: Cause
    reason: str


class _Entry(NamedTuple):
    """A file's content. `asked_from`, `asked_to`: the stretch that the last answer which reached the present covers."""

    spans: list[Intensity]
    fetched_utc: datetime | None
    asked_from: datetime | None
    asked_to: datetime | None
    failure: _Failure | None


_NOTHING = _Entry([], None, None, None, None)


class Cache:
    """The answers in `directory`; None: nothing is kept."""

    def __init__(self, directory: str | None, *, longest_wait_seconds: float = LONGEST_WAIT_SECONDS) -> None:
        self._directory = directory
        self._longest_wait_seconds = longest_wait_seconds

    def ask(
        self,
        question: Question,
        now: datetime,
        request: Callable[[], list[Intensity] | Unavailable] | None,
        *,
        insist: bool = False,
    ) -> Cached:
        """Give what is known of the question; calls `request` if that is not of this hour. None: only look.

        `insist`: ask also where a call has just failed.
        """
        path = self._path(question, make=request is not None)
        entry = _read(path, question, now)
        if _answers(entry, question, now):
            return Cached(entry.spans, None)
        if request is None:
            if entry.failure and entry.failure.until > now and not self._is_pending(entry.failure, now):
                return Cached(entry.spans, _still(entry.failure, now))
            return Cached(entry.spans, Unavailable("not asked (offline)"))
        if path is None:
            return _fetched(_NOTHING, question, now, request)[1]
        known_failure = entry.failure if insist else None

        cached: Cached | None = None

        def is_told() -> bool:
            nonlocal cached
            cached = _told(_read(path, question, now), question, now, known_failure, alone=False)
            return cached is not None

        # A file appears whole: a hundred that wait need not take the lock one after the other to see the answer.
        with _lock(f"{path}.lock", self._longest_wait_seconds, is_told) as locked:
            if locked:
                cached = _told(_read(path, question, now), question, now, known_failure, alone=True)
            if cached is not None:
                return cached
            if not locked:
                waited = f"another process has been asking for more than {self._longest_wait_seconds:g} s"
                return Cached(entry.spans, Unavailable(waited, "broken"))
            entry = _read(path, question, now)
            # If this process is killed while it asks, the next ones need not wait as long as it did.
            pending = _Failure(now, now + _FAILURE_HOLDS, "broken", _PENDING)
            _write(path, question, entry._replace(failure=pending))
            entry, cached = _fetched(entry, question, now, request)
            _write(path, question, entry)
            return cached

    def _is_pending(self, failure: _Failure, now: datetime) -> bool:
        """Whether a call may still be under way, which is worth waiting for."""
        return failure.reason == _PENDING and now - failure.at < timedelta(seconds=self._longest_wait_seconds)

    def _path(self, question: Question, *, make: bool) -> str | None:
        """Give the file for the question, None if none can be kept. The address is in its name only as a hash."""
        if self._directory is None or not _is_ours(self._directory, make=make):
            return None
        import hashlib

        text = "\0".join((question.link, question.address, question.zone, question.basis, question.kind))
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]
        return os.path.join(self._directory, f"{question.link}-{question.kind}-{digest}.json")


def default_directory(environ: Mapping[str, str]) -> str | None:
    """Give the directory below XDG_CACHE_HOME (an absolute path, or it does not count) or HOME, None without a home."""
    caches = environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(caches):
        home = environ.get("HOME", "")
        if not os.path.isabs(home) or not os.path.isdir(home):  # a home that is not there is not for us to make
            return None
        caches = os.path.join(home, ".cache")
    return os.path.join(caches, "greenrun", "intensity")


# --- what an entry is good for


def _answers(entry: _Entry, question: Question, now: datetime) -> bool:
    """Whether there is no need to ask: the last answer is of this hour, and the stretch is known as well as can be."""
    if entry.fetched_utc is None or entry.asked_from is None or entry.asked_to is None:
        return False
    if not _of_this_hour(entry.fetched_utc, now):
        return False
    if question.kind == "forecast":
        # As far ahead, not up to the same moment: a hundred jobs that look 12 h ahead do so from a hundred moments.
        as_far = question.to_utc - now <= entry.asked_to - entry.fetched_utc + _SKEW
        return as_far or any(span.to_utc and span.to_utc >= question.to_utc for span in entry.spans)
    # What lies before the last answer is known from earlier ones, but for hours that were estimated then.
    settled = [span for span in entry.spans if not span.estimated or _of_this_hour(span.fetched_utc or now, now)]
    return not series.gaps(settled, question.from_utc, min(question.to_utc, entry.asked_from))


def _told(
    entry: _Entry, question: Question, now: datetime, known_failure: _Failure | None, *, alone: bool
) -> Cached | None:
    """Give what another process has been told, None if it is to be asked.

    `known_failure`: one that is not to count; `alone`: no other process can be asking now.
    """
    if _answers(entry, question, now):
        return Cached(entry.spans, None)
    failure = entry.failure
    if failure is None or failure.until <= now or failure == known_failure:
        return None
    if not alone and failure.reason == _PENDING:
        return None
    return Cached(entry.spans, _still(failure, now))


def _of_this_hour(fetched_utc: datetime, now: datetime) -> bool:
    return _start_of_hour(fetched_utc) == _start_of_hour(now) or now <= fetched_utc <= now + _SKEW


def _still(failure: _Failure, now: datetime) -> Unavailable:
    """Give the failure of an earlier call, and until when it holds."""
    seconds = max((now - failure.at).total_seconds(), 0.0)
    age = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    told = f"{failure.reason} (asked {age} ago; not asked again before {failure.until:%H:%M} UTC)"
    left_seconds = (failure.until - now).total_seconds()
    return Unavailable(told, failure.cause, left_seconds if failure.cause == "limited" else None)


# --- asking


def _fetched(
    entry: _Entry, question: Question, now: datetime, request: Callable[[], list[Intensity] | Unavailable]
) -> tuple[_Entry, Cached]:
    """Ask, and give what is to be kept and what is to be answered."""
    answer = request()
    if not isinstance(answer, Unavailable):
        # Unbounded, a span would hide all others for ever; and it is this process's clock that tells the hour.
        answer = [span._replace(fetched_utc=now) for span in answer if span.from_utc and span.to_utc]
        answer = answer or Unavailable("answered without a figure", "broken")
    if isinstance(answer, Unavailable):
        hold_seconds = _FAILURE_HOLDS.total_seconds()
        if answer.cause == "limited" and answer.retry_after_seconds is not None:
            hold_seconds = min(max(hold_seconds, answer.retry_after_seconds), _LONGEST_HOLD.total_seconds())
        failure = _Failure(now, now + timedelta(seconds=hold_seconds), answer.cause, answer.reason)
        return entry._replace(failure=failure), Cached(entry.spans, answer)
    if question.kind == "forecast":
        spans = series.merge((), answer)
        return _Entry(spans, now, question.from_utc, question.to_utc, None), Cached(spans, None)
    spans = series.merge(entry.spans, answer)
    kept = [span for span in spans if (span.to_utc or now) > now - _KEPT]
    if question.to_utc >= _start_of_hour(now):
        entry = _Entry(kept, now, question.from_utc, question.to_utc, None)
    else:  # about a time that is over: it says nothing of the present
        entry = entry._replace(spans=kept, failure=None)
    return entry, Cached(spans, None)


@contextlib.contextmanager
def _lock(path: str, longest_wait_seconds: float, needless: Callable[[], bool]) -> Iterator[bool]:
    """Keep others out while the context lasts. True also where no lock can be had.

    False if another does not let go, and as soon as the lock is `needless`.
    """
    import fcntl

    descriptor = None
    flags = os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    for mode in (os.O_RDWR, os.O_RDONLY):  # read-only, one may still lock what is there
        with contextlib.suppress(OSError):
            descriptor = os.open(path, flags | mode, 0o600)
            break
    if descriptor is None:
        yield True
        return
    try:
        deadline, poll_seconds = time.monotonic() + longest_wait_seconds, _FIRST_POLL_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked = True
            except BlockingIOError:
                locked = False
            except OSError:  # a file system without locks
                locked = True
            if locked or needless() or time.monotonic() >= deadline:
                break
            time.sleep(poll_seconds)
            poll_seconds = min(2 * poll_seconds, _LAST_POLL_SECONDS)
        yield locked
    finally:
        os.close(descriptor)


# --- files


def _is_ours(directory: str, *, make: bool) -> bool:
    """Whether the directory is there (`make`: made if need be) and nobody else's."""
    try:
        if make:
            _make(directory)
        status = os.lstat(directory)  # a link that somebody planted leads to what is not the cache
        if status.st_uid != os.geteuid() or not stat.S_ISDIR(status.st_mode):
            return False
        if stat.S_IMODE(status.st_mode) & 0o077:
            os.chmod(directory, 0o700)
    except OSError:
        return False
    return True


def _make(directory: str) -> None:
    if not directory or os.path.isdir(directory):
        return
    parent = os.path.dirname(directory)
    _make(parent)
    if os.geteuid() == 0 and os.stat(parent).st_uid != 0:
        # sudo with somebody's HOME: what root makes there would lock its owner out.
        raise PermissionError(f"{parent} belongs to somebody else")
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)


def _read(path: str | None, question: Question, now: datetime) -> _Entry:
    """Read an entry; one that is not there, not ours, or makes no sense is as none."""
    if path is None:
        return _NOTHING
    try:
        return _entry(_content(path), question, now)
    except _UNREADABLE:
        return _NOTHING


def _content(path: str) -> Any:
    import json

    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise ValueError("no file of ours")
        return json.loads(file.read(_LARGEST_BYTES))


def _entry(fields: Any, question: Question, now: datetime) -> _Entry:
    from greenrun.intensity import exchange

    if fields["form"] != _FORM or fields["of"] != _of(question):
        raise ValueError("not what is looked for")
    fetched_utc = _moment(fields["fetched_utc"])
    spans = [exchange.intensity_from_json(span) for span in fields["spans"]]
    # What seems to come from the future was written before the clock was set back: nothing newer would outdo it.
    spans = [
        span for span in spans if span.from_utc and span.to_utc and span.fetched_utc and span.fetched_utc <= now + _SKEW
    ]
    if fetched_utc is not None and fetched_utc > now + _SKEW:
        fetched_utc = None
    asked_from, asked_to = _moment(fields["asked_from"]), _moment(fields["asked_to"])
    failure = None
    if fields["failure"] is not None:
        told = fields["failure"]
        failure = _Failure(_utc(told["at"]), _utc(told["until"]), told["cause"], str(told["reason"]))
        if failure.cause not in get_args(Cause):
            raise ValueError("unknown cause")
        if failure.at > now + _SKEW or failure.until - failure.at > _LONGEST_HOLD:
            failure = None
    return _Entry(series.merge((), spans), fetched_utc, asked_from, asked_to, failure)


def _of(question: Question) -> list[str]:
    return [question.link, question.zone, question.basis, question.kind]


def _moment(text: str | None) -> datetime | None:
    return None if text is None else _utc(text)


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no offset from UTC")
    return moment.astimezone(timezone.utc)


def _write(path: str, question: Question, entry: _Entry) -> None:
    """Replace the file as a whole. A disk that is full or read-only leaves it as it is."""
    import json

    from greenrun.intensity import exchange

    failure = entry.failure
    fields = {
        "form": _FORM,
        "of": _of(question),
        "fetched_utc": entry.fetched_utc and entry.fetched_utc.isoformat(),
        "asked_from": entry.asked_from and entry.asked_from.isoformat(),
        "asked_to": entry.asked_to and entry.asked_to.isoformat(),
        "failure": failure and {**failure._asdict(), "at": failure.at.isoformat(), "until": failure.until.isoformat()},
        "spans": [exchange.intensity_to_json(span) for span in entry.spans],
    }
    temporary = f"{path}.tmp"  # one name: who writes has the lock, and what a killed process leaves is used again
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(json.dumps(fields).encode())
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _start_of_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
