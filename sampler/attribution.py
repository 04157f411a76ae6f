"""A job's part of what a machine uses: pure, window of time by window of time.

    attributed = dynamic x job's CPU seconds / busy CPU seconds  +  static x job's CPUs / all CPUs

`static` is what the machine would have used idle: its calibrated floor over the window, and never more than was used.
`dynamic` is the rest. Without a floor nobody knows where one ends: all of it goes by CPU time, which is called
"unsplit". Where the job was given no part of the machine, the floor goes by CPU time too: of several jobs that may use
all CPUs each would else be charged with the whole floor.

Memory goes by the part of it that the job was given, or else uses; a GPU is the job's whole, not at all, by the slice
that it has of it, or by its part of the use that is made of it. Over the same window the parts of jobs whose CPU
seconds, CPUs, memory and uses of a GPU add up to no more than the machine's add up to no more than its energy.

The account does this from the log, and `livejoules` while the job runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WINDOW_SECONDS = 0.5
"""No window is shorter than this, but for a life that is: /proc/stat moves in hundredths of a second on each CPU."""

CPU_MODEL_PERCENT = 25.0
"""Half-width of a share by CPU time or by memory. Models of a job's power that are linear in its use of the processor
err by up to a quarter: a CPU second costs more or less by what is computed in it. What the one has too much the others
have too little, so it is a quarter of the smaller of the two parts, and nothing where the job is alone."""

GPU_MODEL_PERCENT = 50.0
"""Half-width of a part of a GPU, of the smaller part: utilisation tells how long something ran on it and not how much
of it, and a slice draws by what is computed in it. As for any figure of load without a meter of its own."""


class Part(NamedTuple):
    """The job's joules of a window: of the idle floor (0 where there is none), and of the rest, with its half-width."""

    static_joules: float
    dynamic_joules: float
    half_width_joules: float

    @property
    def joules(self) -> float:
        """All of it."""
        return self.static_joules + self.dynamic_joules


def floor_joules(joules: float, seconds: float, watts: float | None) -> float:
    """Give the part of a window's energy that the machine uses idle; 0 where its idle power is not known."""
    return 0.0 if watts is None else min(max(0.0, watts) * max(0.0, seconds), joules)


def busy_fraction(job_cpu_seconds: float, busy_cpu_seconds: float) -> float:
    """Give the job's part of the CPU time that was used at all; clocks of 10 ms may tell more of it than of all."""
    return job_cpu_seconds / max(job_cpu_seconds, busy_cpu_seconds) if job_cpu_seconds > 0.0 else 0.0


def by_cpu_time(joules: float, static_joules: float, fraction: float, given: float | None) -> Part:
    """Share out what the CPUs used: `fraction` of the busy time was the job's, and it was `given` a part of all CPUs.

    `given` is None where it was given no part of its own: the floor then goes by time as well.
    """
    dynamic = joules - static_joules
    model = CPU_MODEL_PERCENT / 100.0 * min(fraction, 1.0 - fraction)
    if given is None:
        return Part(static_joules * fraction, dynamic * fraction, model * joules)
    return Part(static_joules * min(1.0, given), dynamic * fraction, model * dynamic)


def by_fraction(joules: float, static_joules: float, fraction: float, model_percent: float) -> Part:
    """Share out what is the job's to one fraction, idle or not: memory, or a GPU that others use too."""
    half_width = model_percent / 100.0 * min(fraction, 1.0 - fraction) * joules
    return Part(static_joules * fraction, (joules - static_joules) * fraction, half_width)


def given_fraction(allocated: Mapping[str, Any] | None) -> float | None:
    """Give the part of all CPUs that the job was given; None where it was given none of its own, or nobody knows.

    `allocated` is what the `start` event says of it.
    """
    if not allocated or allocated.get("by") in (None, "all") or not allocated.get("all_cpus"):
        return None
    cpus = allocated.get("cpus")
    return None if cpus is None else min(1.0, max(0.0, float(cpus)) / float(allocated["all_cpus"]))


def given_memory_fraction(allocated: Mapping[str, Any] | None, all_bytes: float, *, is_given: bool) -> float | None:
    """Give the part of the memory that the job was given, None where nobody told.

    `is_given`: what is told is of no other memory, as an estimate that was made inside of a cgroup with a limit.
    """
    size = (allocated or {}).get("memory_bytes")
    if size is None or not all_bytes:
        return None
    if is_given:
        return 1.0
    return min(1.0, float(size) / all_bytes)


def has_a_part(allocated: Mapping[str, Any] | None, gpus: Iterable[tuple[bool | None, float | None]]) -> bool:
    """Tell whether the job was given a part of the machine: some of its CPUs, or not all of its GPUs.

    `gpus` has for each GPU whether it is the job's (None: shared, or unknown) and what slice of it is.
    """
    given = given_fraction(allocated)
    return (given is not None and given < 1.0) or any(mine is False or part is not None for mine, part in gpus)


def gpu_fraction(of_job: bool | None, job_part: float | None, share: float | None) -> float | None:
    """Give the job's part of a GPU: all or nothing, its slice, or its part of the use; None where it is not known."""
    if of_job is not None:
        return 1.0 if of_job else 0.0
    if job_part is not None:
        return min(1.0, max(0.0, job_part))
    return None if share is None else min(1.0, max(0.0, share))
