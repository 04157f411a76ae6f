"""greenrun: run any job and tell what it cost in energy and carbon.

A job may call `greenrun.epoch(k)` and `greenrun.metric(name, value)`, and put `with greenrun.phase(name):` around its
parts. Where it does not run under greenrun they do nothing, and never does one of them raise or wait: a marker is not
worth a job. A notebook or a script measures a part of itself with `with greenrun.measure():`.
"""

import os

__version__ = "0.1.0"
__all__ = ["__version__", "epoch", "measure", "metric", "phase"]

TYPE_CHECKING = False  # as typing has it, whose import a job need not pay for
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from greenrun.cli.measuring import Measurement

    Function = TypeVar("Function", bound=Callable[..., Any])

_COROUTINE, _GENERATOR, _ASYNC_GENERATOR = 0x80, 0x20, 0x200  # CO_... of the inspect module, which is dear to import


def epoch(k: int, of: int | None = None) -> None:
    """Tell greenrun that epoch `k` has ended, of `of` in all if that is known."""
    try:
        _mark(f"epoch {int(k)}" if of is None else f"epoch {int(k)} {int(of)}")
    except (TypeError, ValueError, OverflowError):
        return


def metric(name: str, value: float) -> None:
    """Tell greenrun a figure of the job's own, such as its accuracy; blanks in the name become underscores."""
    try:
        _mark(f"metric {'_'.join(str(name).split())} {float(value)!r}")
    except (TypeError, ValueError, OverflowError):
        return


class phase:  # noqa: N801  it reads as a word of the language: with phase("train")
    """A part of the job by name: `with greenrun.phase("train"):`, or `@greenrun.phase("train")` above a function.

    Phases may lie within each other and come back; where one of a name lies within another of that name, or two
    processes are in it, it lasts from the first start to the last end. Blanks in the name become underscores.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._process = 0

    def start(self) -> None:
        """Tell that the phase begins here, for where a `with` cannot stand."""
        self._tell("start")

    def end(self) -> None:
        """Tell that it ends here."""
        self._tell("end")

    def __enter__(self) -> "phase":
        self._process = os.getpid() if "GREENRUN_MARKS" in os.environ else 0
        self._tell("start")
        return self

    def __exit__(self, *_: object) -> None:
        # A process that was forked within the phase leaves it, too; but the phase is its parent's.
        if self._process == os.getpid():
            self._tell("end")

    def __call__(self, function: "Function") -> "Function":
        """Give the function with the phase around each of its calls."""
        return _around(function, self._name)

    def _tell(self, which: str) -> None:
        if "GREENRUN_MARKS" not in os.environ:
            return
        import time  # loaded by Python itself

        try:
            _mark(f"phase {'_'.join(str(self._name).split())[:100]} {which} at={time.monotonic():.6f}")
        except Exception:  # noqa: BLE001  a name whose __str__ fails is no reason to fail, either
            return


def _around(function: "Function", name: str) -> "Function":
    """Wrap a function; one that is a coroutine or a generator is in the phase until it has come to its end."""
    kind = getattr(getattr(function, "__code__", None), "co_flags", 0)
    if kind & _ASYNC_GENERATOR:
        return function  # what is sent into it would be lost

    async def coroutine(*args: "Any", **kwargs: "Any") -> "Any":
        with phase(name):
            return await function(*args, **kwargs)

    def generator(*args: "Any", **kwargs: "Any") -> "Any":
        with phase(name):
            return (yield from function(*args, **kwargs))

    def call(*args: "Any", **kwargs: "Any") -> "Any":
        with phase(name):
            return function(*args, **kwargs)

    wrapper: Any = coroutine if kind & _COROUTINE else generator if kind & _GENERATOR else call
    for attribute in ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__"):
        if hasattr(function, attribute):
            setattr(wrapper, attribute, getattr(function, attribute))
    vars(wrapper).update(getattr(function, "__dict__", {}), __wrapped__=function)  # where inspect looks for arguments
    return wrapper  # type: ignore[no-any-return]


def measure(*, summary: bool = False, **settings: object) -> "Measurement":
    """Measure a block of this process: `with greenrun.measure(epochs=10) as run:`, then `run.record` and `run.dir`.

    The settings are those of the command line, with underscores: `name`, `epochs`, `country`, `pue`, `log_dir` ...
    A wrong one raises ValueError; whatever else goes wrong in greenrun is a warning, and the block runs unmeasured.
    `summary`: print the summary on stderr in the end.
    """
    try:
        from greenrun.cli.measuring import Measurement
    except Exception as error:  # noqa: BLE001  a select.py of the job's own may stand in the way of ours
        return _Unmeasured(error)  # type: ignore[return-value]
    return Measurement(summary=summary, settings=settings)


class _Unmeasured:
    """Stands in for a measurement where not even the code for one can be imported."""

    record = dir = None

    def __init__(self, error: Exception) -> None:
        import warnings

        sentence = f"greenrun cannot measure ({type(error).__name__}: {error}); the block runs without."
        try:
            warnings.warn(sentence, RuntimeWarning, stacklevel=3)
        except RuntimeWarning:  # somebody made warnings errors; no block is to fail for it
            _say(sentence)

    def __enter__(self) -> "_Unmeasured":
        return self

    def __exit__(self, *_: object) -> None:
        return


def _say(sentence: str) -> None:
    try:
        os.write(2, f"{sentence}\n".encode("utf-8", "replace"))
    except OSError:
        return  # stderr is closed: nobody listens


def _mark(line: str) -> None:
    """Append a line to the file that greenrun names in the environment: in one write, so that lines never mix."""
    path = os.environ.get("GREENRUN_MARKS")
    if not path:
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return  # the run is over, or the file belongs to somebody else
    try:
        os.write(descriptor, f"{line}\n".encode("utf-8", "replace"))
    except OSError:
        return  # the disk is full: the marker is lost, the job goes on
    finally:
        os.close(descriptor)
