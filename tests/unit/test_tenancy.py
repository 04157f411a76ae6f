"""Whose a GPU is, told by who was seen on it, and when it is looked at."""

from __future__ import annotations

from itertools import pairwise

import pytest

from greenrun.sampler.tenancy import Tenancy, Use

JOB, OTHER = 10, 20


def looks(gpu: Tenancy, until: int, utilisation: float | None, step: int = 1) -> list[int]:
    """Let the seconds pass, and give those at which it is looked at."""
    times = []
    for second in range(0, until, step):
        gpu.run(second, utilisation)
        if gpu.is_due(second):
            gpu.look(second, (), ())
            times.append(second)
    return times


def test_a_busy_gpu_is_looked_at_after_a_second_and_then_every_ten() -> None:
    """Never in the first second, whatever runs there."""
    assert looks(Tenancy(given=False), 45, 0.7) == [1, 11, 21, 31, 41]


@pytest.mark.parametrize("utilisation", [0.0, None])
def test_an_idle_gpu_is_looked_at_when_it_would_be_due_anyway(utilisation: float | None) -> None:
    """The first look waits for something to run, for until then there is nobody to be seen."""
    assert looks(Tenancy(given=False), 45, utilisation) == [10, 20, 30, 40]
    gpu = Tenancy(given=False)
    assert looks(gpu, 6, 0.0) == []
    gpu.run(6, 0.2)
    assert gpu.is_due(6)


def test_looks_thin_out() -> None:
    """After an hour they come less often, once a minute in the end."""
    times = looks(Tenancy(given=False), 86_400, 0.7)
    gaps = {after - before for before, after in pairwise(times)}
    assert min(gaps) == 10
    assert max(gaps) == 60


def test_the_jobs_alone() -> None:
    """Only its processes were ever seen there: all of it is the job's, from the first second to the last."""
    gpu = Tenancy(given=False)
    assert (gpu.verdict, gpu.share) == ("unknown", None)
    gpu.look(1.0, {JOB}, ())
    assert (gpu.verdict, gpu.share) == ("job", 1.0)
    gpu.look(11.0, (), ())
    assert gpu.end() == "job"


def test_shared_by_the_use_of_each() -> None:
    """While others are there too, the share is the job's part of what ran; it stands while nothing runs."""
    gpu = Tenancy(given=False)
    gpu.look(1.0, {JOB}, {OTHER})
    assert (gpu.verdict, gpu.is_shared, gpu.share) == ("shared", True, None)
    gpu.use([Use(JOB, 60.0), Use(OTHER, 20.0)], {JOB}, {OTHER})
    assert gpu.share == 0.75
    gpu.use([], (), ())
    assert gpu.share == 0.75
    gpu.use([Use(OTHER, 5.0)], (), {OTHER})
    assert gpu.share == 0.0
    gpu.look(11.0, {JOB}, {OTHER})
    assert gpu.share == 0.0
    gpu.look(21.0, {JOB}, ())
    assert (gpu.share, gpu.is_shared, gpu.end()) == (1.0, False, "shared")
    gpu.look(31.0, {JOB}, {OTHER})
    assert gpu.share is None  # who was alone until now has not the whole use for that


def test_processes_that_come_between_two_looks() -> None:
    """A new one counts by whose it is; one that has gone counts by the last list."""
    gpu = Tenancy(given=False)
    gpu.look(1.0, {JOB}, {OTHER})
    gpu.use([Use(JOB, 30.0), Use(OTHER, 30.0), Use(11, 60.0), Use(99, 80.0)], {11}, ())
    assert gpu.share == 0.75


def test_a_given_gpu_is_the_jobs_but_for_others() -> None:
    """Also before its processes are there; who else comes shares it."""
    gpu = Tenancy(given=True)
    assert gpu.verdict == "job"
    gpu.look(1.0, (), ())
    assert (gpu.verdict, gpu.share) == ("job", 1.0)
    gpu.look(11.0, (), {OTHER})
    assert (gpu.verdict, gpu.share) == ("shared", 0.0)


def test_idle_neighbours_are_not_the_jobs() -> None:
    """Nothing ran there; or others did, who were seen, and the job was not."""
    idle = Tenancy(given=False)
    looks(idle, 5, 0.0)
    assert idle.end() == "not-job"
    busy = Tenancy(given=False)
    for second in range(15):
        busy.run(second, 0.9)
        if busy.is_due(second):
            busy.look(second, (), {OTHER})
    assert (busy.verdict, busy.end(), busy.share) == ("unknown", "not-job", 0.0)


def test_what_nobody_saw_is_unknown() -> None:
    """A job of half a second, and use since the last look by nobody who was there then."""
    short = Tenancy(given=False)
    short.run(0.1, 0.0)
    assert short.end() == "unknown"
    late = Tenancy(given=False)
    assert looks(late, 21, 0.0) == [10, 20]
    late.run(21.0, 0.0)
    late.run(22.0, 0.4)
    assert late.end() == "unknown"
    once = Tenancy(given=False)
    once.run(1.0, 0.9)
    once.look(1.0, (), {OTHER})
    once.run(2.0, 0.9)
    assert once.end() == "unknown"


def test_a_list_that_is_not_given() -> None:
    """Nothing is said of the share, nor of whose it is; it is not asked for any sooner again."""
    gpu = Tenancy(given=False)
    gpu.run(1.0, 0.5)
    assert gpu.is_due(1.0)
    gpu.miss(1.0)
    gpu.run(2.0, 0.5)
    assert not gpu.is_due(2.0)
    assert gpu.is_due(11.0)
    assert (gpu.share, gpu.end(), gpu.was_looked_at) == (None, "unknown", False)
