"""greenrun: run any job and tell what it cost in energy and carbon.

A job may call `greenrun.epoch(k)` and `greenrun.metric(name, value)`. Where it does not run under greenrun they do
nothing, and never does either of them raise or wait: a marker is not worth a job.
"""

import os

__version__ = "0.1.0"
__all__ = ["__version__", "epoch", "metric"]


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
