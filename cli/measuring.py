"""`greenrun.measure`: a block of a process that measures itself.

Nothing here harms the block: what breaks in greenrun is a warning, and the block runs. Only a mistake in a setting is
raised, and before the block begins.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from greenrun.cli import config, options
from greenrun.cli.errors import UserError
from greenrun.cli.identity import new_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from greenrun.cli.config import Config
    from greenrun.cli.handle import Begun
    from greenrun.cli.identity import Run

# Nothing is printed unless `summary` says so; a block is not stopped for a budget, and has no exit status.
_NO_SETTINGS = {"quiet", "budget_action", "no_ci", "metrics_file"}
_LONGEST_COMMAND_BYTES = 1 << 15


class Measurement:
    """One measured block. After it `record` is what summary.json holds, and `dir` the run directory.

    Both are None where there is none: before, and where it could not be measured. It may be used again, not in itself.
    """

    def __init__(self, *, summary: bool, settings: Mapping[str, object]) -> None:
        """Check the settings. ValueError with a sentence for one that is not allowed, also in a file or a variable."""
        self.record: dict[str, Any] | None = None
        self.dir: str | None = None
        self._summary = summary
        self._config = _configure(settings)
        self._begun: Begun | None = None
        self._run: Run | None = None
        self._process = 0
        self._depth = 0

    def __enter__(self) -> Measurement:
        if os.getpid() != self._process:  # what the parent of a fork was in the middle of is not ours
            self._depth = 0
        self._depth += 1
        if self._depth > 1:
            _warn("this measurement has begun already; the block within it is a part of it")
            return self
        self.record = self.dir = self._begun = None
        self._process = os.getpid()
        if self._config is not None:
            try:
                self._begin(self._config)
            except Exception as error:  # noqa: BLE001  fail open, whatever it is
                _warn(f"greenrun cannot measure ({_reason(error)}); the block runs without")
        return self

    def _begin(self, settings: Config) -> None:
        from greenrun.cli.handle import Begun

        command = _command()
        run = new_run(settings.log_dir, settings.name or _name(), command)._replace(kind="block")
        self._run = run
        self._begun = Begun(settings, run, follow=self._process)
        if self._begun.has_log:
            self.dir = run.run_dir
        _Surroundings.enter(run, self._begun.has_log)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._process:
            return  # forked within the block, and leaving it: the block is its parent's
        self._depth -= 1
        if self._depth > 0 or self._begun is None or self._run is None:
            return
        begun, self._begun = self._begun, None
        try:
            _Surroundings.leave(self._run.run_id)
            ended = begun.end(failed=_is_failure(kind, error))
        except Exception as trouble:  # noqa: BLE001  fail open
            _warn(f"greenrun cannot tell what the block cost ({_reason(trouble)})")
            return
        self.record = ended.record
        if ended.record is None:
            where = f"; greenrun report {self.dir} tells what it wrote" if self.dir else ""
            _warn(f"greenrun's sampler gave no record in time{where}")
        elif any(warned["code"] == "log" for warned in ended.record["warnings"]):
            _warn(next(str(warned["message"]) for warned in ended.record["warnings"] if warned["code"] == "log"))
        if self._summary and ended.summary is not None:
            _print(ended.summary)


class _Surroundings:
    """What a measured block adds to the environment, for its markers and for what it starts.

    The environment is the whole process's: of several blocks in several threads the one that began last has it.
    """

    _lock = threading.Lock()
    _before: ClassVar[dict[str, str]] = {}
    _blocks: ClassVar[dict[str, dict[str, str]]] = {}  # by the run's id, in the order in which they began

    @classmethod
    def enter(cls, run: Run, has_log: bool) -> None:
        marks = os.path.join(run.run_dir, "marks") if has_log else os.devnull
        with cls._lock:
            if not cls._blocks:
                cls._before = {name: os.environ[name] for name in options.MARKERS if name in os.environ}
            ours = {"GREENRUN_RUN_ID": run.run_id, "GREENRUN_RUN_DIR": run.run_dir, "GREENRUN_MARKS": marks}
            cls._blocks[run.run_id] = ours
            os.environ.update(ours)

    @classmethod
    def leave(cls, run_id: str) -> None:
        with cls._lock:
            cls._blocks.pop(run_id, None)
            now = list(cls._blocks.values())[-1] if cls._blocks else cls._before
            for name in options.MARKERS - now.keys():
                os.environ.pop(name, None)
            os.environ.update(now)

    @classmethod
    def renew(cls) -> None:
        """After a fork: another thread, which is not here, may have had the lock."""
        cls._lock = threading.Lock()


os.register_at_fork(after_in_child=_Surroundings.renew)


def _configure(settings: Mapping[str, object]) -> Config | None:
    """Give the configuration in force, None where that fails by no fault of the user's."""
    told: dict[str, str | bool] = {}
    try:
        for key, value in settings.items():
            if value is not None:
                told[key] = _checked(key, value)
        found = config.load(told, os.environ, cwd="")
    except UserError as mistake:
        raise ValueError(str(mistake)) from None
    except Exception as error:  # noqa: BLE001  fail open
        _warn(f"greenrun cannot measure ({_reason(error)}); the block runs without")
        return None
    place, intensity = (_place(text) for text in (found.place_from, found.intensity_from))
    return found._replace(place_from=place, intensity_from=intensity)


def _checked(key: str, value: object) -> str | bool:
    """Give a setting as a flag would tell it, checked, so that a mistake is told in words of Python."""
    known = {name for name, option in options.BY_KEY.items() if option.lasting} - _NO_SETTINGS
    if key not in known:
        near = options.nearest(key, known, prefix="")
        raise UserError(f"measure() has no setting {key}{f', {near} is the nearest' if near else ''}")
    option = options.BY_KEY[key]
    if option.type is bool or isinstance(value, bool):
        if option.type is not bool or not isinstance(value, bool):
            right = "True or False" if option.type is bool else "a value, no truth value"
            raise UserError(f"measure({key}=...) must be {right}, not {value!r}")
        return value
    text = os.fspath(value) if isinstance(value, os.PathLike) else str(value)
    try:
        option.check(text)
    except ValueError as error:
        raise UserError(f"measure({key}=...) {error}, not {value!r}") from None
    return text


def _place(told: str | None) -> str | None:
    """Name a setting of ours as Python does, where the configuration says that a flag has told it."""
    return f"measure({told[2:].replace('-', '_')}=...)" if told and told.startswith("--") else told


def _command() -> list[str]:
    """Give the words by which this process was started; too many of them are left out."""
    words = list(sys.orig_argv)
    return words if sum(len(os.fsencode(word)) + 1 for word in words) <= _LONGEST_COMMAND_BYTES else words[:1]


def _name() -> str:
    """Name the run after the script; a notebook or a prompt has none."""
    script = os.path.basename(sys.argv[0]) if sys.argv else ""
    return script.removesuffix(".py") if script and not script.startswith(("-", "ipykernel")) else "block"


def _is_failure(kind: type[BaseException] | None, error: BaseException | None) -> bool:
    if kind is None:
        return False
    return not (isinstance(error, SystemExit) and error.code in (None, 0))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}"


def _warn(sentence: str) -> None:
    import warnings

    try:
        warnings.warn(f"{sentence.removesuffix('.')}.", RuntimeWarning, stacklevel=3)
    except RuntimeWarning:  # somebody made warnings errors; no block is to fail for it
        _print(f"{sentence}.\n")


def _print(text: str) -> None:
    """Write to what Python calls stderr, which in a notebook is below the cell."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except Exception:  # noqa: BLE001  closed, replaced, or not there at all
        return
