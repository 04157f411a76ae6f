"""A job's share of its node: worked out by hand, and whatever jobs share a node, never more than the node."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.data.logs import device, exited, sample, spawned, start

from greenrun.reports import terminal
from greenrun.reports.account import account

GIB = 1 << 30
DEVICES = (device("package-0"), device("package-0 dram", kind="dram"))
SLURM = {"SLURM_JOB_ID": "7", "SLURM_JOB_USER": "ada", "SLURMD_NODENAME": "n1", "SLURM_JOB_NUM_NODES": "1"}


def job_log(*events: Any, devices: Any = DEVICES, environment: Any = SLURM, **more: Any) -> list[Any]:
    """Give the log of a job that the site measured, from its prolog to its epilog."""
    first = start(*devices, kind="job", user="root", command=None, environment=environment, **more)
    return [first, spawned(0.0), *events]


def used(t: float, *joules: float | None, cpu: Any = None, mem: Any = None, **more: Any) -> Any:
    """Give a sample with the CPU time and the memory of job and node."""
    return sample(t, *joules, **({"cpu": cpu} if cpu else {}), **({"mem": mem} if mem else {}), **more)


def test_cpu_energy_goes_by_busy_time_window_by_window() -> None:
    """100 J in which the job had half of the busy time, then 10 J in which it had all: 60 J, not half of 110 J."""
    record = account(
        job_log(
            used(0.0, 0.0, 0.0, cpu=[0.0, 0.0, 0.0]),
            used(10.0, 100.0, 20.0, cpu=[5.0, 10.0, 40.0]),
            used(20.0, 110.0, 40.0, cpu=[9.0, 14.0, 80.0]),
            exited(20.0),
        )
    )
    assert record["energy_joules"]["cpu"] == 110.0
    assert record["job_energy_joules"] is not None
    assert record["job_energy_joules"]["cpu"] == pytest.approx(60.0)
    assert record["share"] == {
        "method": "unsplit",
        "cpu": "busy-time",
        "dram": None,
        "gpu": None,
        "known_percent": 100.0,
    }


def test_memory_goes_by_what_was_given_else_by_what_was_used() -> None:
    """8 of 16 GiB given are half of the 40 J; where that is not known, what was used of them counts, and it says so."""
    samples = (
        used(0.0, 0.0, 0.0, cpu=[0.0, 0.0, 0.0], mem=[None, 8 * GIB, 16 * GIB]),
        used(10.0, 100.0, 40.0, cpu=[10.0, 10.0, 40.0], mem=[4 * GIB, 8 * GIB, 16 * GIB]),
        exited(10.0),
    )
    given_out = account(job_log(*samples, environment=SLURM | {"SLURM_MEM_PER_NODE": "8192"}))
    assert given_out["job_energy_joules"] is not None
    assert given_out["job_energy_joules"]["dram"] == pytest.approx(20.0)
    assert given_out["job_energy_joules"]["total"] == pytest.approx(120.0)
    assert given_out["share"] is not None
    assert given_out["share"]["dram"] == "allocated-memory"
    by_use = account(job_log(*samples))
    assert by_use["job_energy_joules"] is not None
    assert by_use["job_energy_joules"]["dram"] == pytest.approx(5.0)  # from nothing to 4 of 16 GiB
    assert by_use["share"] is not None
    assert by_use["share"]["dram"] == "used-memory"


def test_what_is_not_known_is_null() -> None:
    """Without a cgroup to read, CPU and memory are unknown, and so is their sum: never 0, never the node's."""
    record = account(
        job_log(
            used(0.0, 0.0, 0.0, cpu=[None, 0.0, 0.0], mem=[None, 1, 2]),
            used(10.0, 100.0, 40.0, cpu=[None, 10.0, 40.0], mem=[None, 1, 2]),
            exited(10.0),
        )
    )
    assert record["job_energy_joules"] == dict.fromkeys(("cpu", "dram", "gpu", "other", "total"))
    assert record["share"] == {"method": "unsplit", "cpu": None, "dram": None, "gpu": None, "known_percent": None}
    assert "unknown: neither its CPU time nor its memory was seen" in terminal.render(record)


def test_a_part_that_is_unknown_leaves_no_sum() -> None:
    """CPU known and memory not: a total would pass for a whole one."""
    record = account(
        job_log(used(0.0, 0.0, 0.0, cpu=[0.0, 0.0, 0.0]), used(2.0, 9.0, 9.0, cpu=[1.0, 2.0, 4.0]), exited(2.0))
    )
    assert record["job_energy_joules"] is not None
    assert (record["job_energy_joules"]["cpu"], record["job_energy_joules"]["total"]) == (4.5, None)


def test_a_cgroup_that_comes_late_began_at_nothing() -> None:
    """The job's group is made after the prolog: what it has used by its first reading, it used since the start."""
    record = account(
        job_log(
            used(0.0, 0.0, cpu=[None, 0.0, 0.0]),
            used(4.0, 40.0, cpu=[3.0, 4.0, 16.0]),
            used(8.0, 80.0, cpu=[3.0, 8.0, 32.0]),
            exited(8.0),
            devices=DEVICES[:1],
        )
    )
    assert record["job_energy_joules"] is not None
    assert record["job_energy_joules"]["total"] == pytest.approx(30.0)


def test_a_job_that_was_lost_sight_of_says_so() -> None:
    """CPU time known for half of its life: the share is that half's, and the record says how much that is."""
    record = account(
        job_log(
            used(0.0, 0.0, cpu=[0.0, 0.0, 0.0]),
            used(5.0, 50.0, cpu=[5.0, 5.0, 20.0]),
            used(10.0, 100.0, cpu=[None, 10.0, 40.0]),
            exited(10.0),
            devices=DEVICES[:1],
        )
    )
    assert record["job_energy_joules"] is not None
    assert record["job_energy_joules"]["total"] == pytest.approx(50.0)
    assert record["share"] is not None
    assert record["share"]["known_percent"] == 50.0
    assert "of 50 % of its time" in terminal.render(record)


@pytest.mark.parametrize(
    ("of_job", "joules", "by"),
    [((True, False), 30.0, "devices"), ((False, False), 0.0, "devices"), ((True, None), None, None)],
)
def test_gpus_are_the_jobs_or_not(of_job: Any, joules: float | None, by: str | None) -> None:
    """The job's GPUs are its own, whole; without one it has 0 J of them; one that may be its makes it unknown."""
    gpus = [device(f"gpu{n}", kind="gpu", of_job=mine) for n, mine in enumerate(of_job)]
    record = account(
        job_log(
            used(0.0, 0.0, 0.0, 0.0, cpu=[0.0, 0.0, 0.0]),
            used(3.0, 9.0, 30.0, 60.0, cpu=[3.0, 3.0, 12.0]),
            exited(3.0),
            devices=(device("package-0"), *gpus),
        )
    )
    assert record["job_energy_joules"] is not None
    assert record["job_energy_joules"]["gpu"] == joules
    assert record["job_energy_joules"]["total"] == (None if joules is None else 9.0 + joules)
    assert record["share"] is not None
    assert record["share"]["gpu"] == by
    assert [entry["of_job"] for entry in record["devices"]] == [None, *of_job]


def test_only_a_job_has_a_share() -> None:
    """A command's CPU time is that of its processes, and not of the job that it is a part of."""
    events = [start(DEVICES[0], environment=SLURM), spawned(0.0), used(0.0, 0.0, cpu=[0.0, 0.0, 0.0])]
    record = account([*events, used(2.0, 10.0, cpu=[1.0, 2.0, 8.0]), exited(2.0)])
    assert (record["job_energy_joules"], record["share"]) == (None, None)


def test_the_summary_has_node_and_job() -> None:
    """The node's energy first, the job's part of it below."""
    record = account(
        job_log(
            used(0.0, 0.0, 0.0, cpu=[0.0, 0.0, 0.0], mem=[0, 8 * GIB, 16 * GIB]),
            used(10.0, 600.0, 40.0, cpu=[5.0, 10.0, 40.0], mem=[0, 8 * GIB, 16 * GIB]),
            exited(10.0, None, how="told", job_exit_code="3:0"),
            environment=SLURM | {"SLURM_MEM_PER_NODE": "8192"},
        )
    )
    text = terminal.render(record)
    assert text.startswith("greenrun: the job ran for 10.0 s and exited with 3\n  energy      640 J")
    assert "\n    the job's 320 J, CPU 300 J by CPU time, memory 20.0 J by memory given\n" in text


@pytest.mark.parametrize(
    ("told", "exit_code", "signal"),
    [("0:0", 0, None), ("3:0", 3, None), ("0:9", None, 9), ("x", 5, None), (None, 5, None)],
)
def test_how_a_job_ended(told: str | None, exit_code: int | None, signal: int | None) -> None:
    """SLURM's CODE:SIGNAL is the job's exit code or signal; anything else is not taken for one."""
    ending = exited(1.0, 5, job_exit_code=told) if told else exited(1.0, 5)
    record = account(job_log(used(0.0, 0.0, 0.0), used(1.0, 1.0, 1.0), ending))
    assert (record["exit_code"], record["signal"]) == (exit_code, signal)


steps = st.lists(
    st.tuples(
        st.floats(0.6, 30.0),  # seconds
        st.floats(0.0, 400.0),  # watts
        st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4),  # what three jobs and the rest keep busy
        st.lists(st.integers(0, 4), min_size=3, max_size=3),  # GiB that the jobs use, of 16
    ),
    min_size=1,
    max_size=12,
)
given_memory = st.lists(st.one_of(st.none(), st.integers(1, 5)), min_size=3, max_size=3)
whose = st.lists(st.integers(0, 3), min_size=2, max_size=2)


@given(steps, given_memory, whose)
def test_the_jobs_of_a_node_never_add_up_to_more_than_the_node(work: Any, memory: Any, owners: Any) -> None:
    """Three jobs and what else runs, any load, any power, any memory: their shares are within the node's energy."""
    records = []
    for number in range(3):
        t, joules, busy, own = 0.0, 0.0, 0.0, 0.0
        gpu = [0.0, 0.0]
        samples = [used(0.0, 0.0, 0.0, 0.0, 0.0, cpu=[0.0, 0.0, 0.0], mem=[0, 8 * GIB, 16 * GIB])]
        for seconds, watts, loads, sizes in work:
            t, joules = t + seconds, joules + watts * seconds
            gpu = [gpu[0] + 3.0 * seconds, gpu[1] + 5.0 * seconds]
            busy, own = busy + sum(loads) * seconds, own + loads[number] * seconds
            mem = [sizes[number] * GIB, 8 * GIB, 16 * GIB]
            samples.append(used(t, joules, joules / 3.0, *gpu, cpu=[own, busy, 4.0 * t], mem=mem))
        devices = [*DEVICES, *(device(f"gpu{n}", kind="gpu", of_job=owner == number) for n, owner in enumerate(owners))]
        environment = SLURM | ({} if memory[number] is None else {"SLURM_MEM_PER_NODE": str(memory[number] * 1024)})
        records.append(account(job_log(*samples, exited(t), devices=devices, environment=environment)))
    for kind in ("cpu", "dram", "gpu", "total"):
        shares = [record["job_energy_joules"][kind] for record in records]  # type: ignore[index, literal-required]
        node = records[0]["energy_joules"][kind]  # type: ignore[literal-required]
        assert all(share is not None and 0.0 <= share <= node for share in shares)
        assert sum(shares) <= node * (1.0 + 1e-9) + 1e-9


def test_two_daemons_that_read_at_different_moments_agree_within_what_changes_between_two_samples() -> None:
    """Two jobs take turns each 7 s, at 200 W and 40 W, read at different moments: one window in seven is mixed."""
    shares = []
    for number, phase in ((0, 0.0), (1, 0.43)):
        moments = [0.0, *(phase + second for second in range(1, 140)), 140.0]
        samples = [
            used(t, _turns(t, 200.0, 40.0), cpu=[_turns(t, *((1.0, 0.0), (0.0, 1.0))[number]), t, 4.0 * t])
            for t in moments
        ]
        record = account(job_log(*samples, exited(140.0), devices=DEVICES[:1]))
        assert record["job_energy_joules"] is not None
        shares.append(record["job_energy_joules"]["total"] or 0.0)
    assert sum(shares) == pytest.approx(_turns(140.0, 200.0, 40.0), rel=0.05)


def _turns(t: float, first: float, second: float) -> float:
    """Give the integral of a rate that is `first` for 7 s, then `second` for 7 s, and so on."""
    whole, rest = divmod(t, 14.0)
    return whole * 7.0 * (first + second) + min(rest, 7.0) * first + max(0.0, rest - 7.0) * second
