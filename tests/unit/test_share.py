"""A job's share of its node: worked out by hand, and whatever jobs share a node, never more than the node."""

from __future__ import annotations

import csv
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.data.logs import device, exited, intensity, sample, spawned, start

from greenrun.reports import formats, intervals, series, terminal
from greenrun.reports.account import WhatIf, account
from greenrun.reports.formats import Told

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
    assert record["share"] is not None
    assert record["share"]["fraction"]["cpu"] == pytest.approx(60.0 / 110.0)
    assert {name: value for name, value in record["share"].items() if name != "fraction"} == {
        "method": "unsplit",
        "cpu": "busy-time",
        "static": None,
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
    assert record["share"] is not None
    assert {record["share"][of] for of in ("cpu", "dram", "gpu", "known_percent")} == {None}  # type: ignore[literal-required]
    assert record["scopes"]["job"] is None
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


def test_a_command_has_a_share_too() -> None:
    """Whatever its scope, its record holds both; what never ran has none."""
    events = [start(DEVICES[0]), spawned(0.0), used(0.0, 0.0, cpu=[0.0, 0.0, 0.0])]
    record = account([*events, used(2.0, 10.0, cpu=[1.0, 2.0, 8.0]), exited(2.0)])
    assert record["scope"] == "node"
    assert record["job_energy_joules"] is not None
    assert (record["energy_joules"]["total"], record["job_energy_joules"]["total"]) == (10.0, pytest.approx(5.0))
    never = account([start(DEVICES[0]), {"event": "not-started", "t": 0.1, "exit_code": 127, "reason": "no such file"}])
    assert (never["job_energy_joules"], never["share"], never["scopes"]["job"]) == (None, None, None)


def test_the_kernel_tells_a_command_what_sampling_missed() -> None:
    """2,000 short children come and go between two looks at /proc; what was waited for is in the rusage."""
    rusage = {"user_seconds": 3.0, "system_seconds": 1.0, "max_rss_bytes": 1}
    events = [start(DEVICES[0]), spawned(0.0), used(0.0, 0.0, cpu=[None, 0.0, 0.0])]
    record = account([*events, used(5.0, 100.0, cpu=[0.02, 5.0, 20.0]), exited(5.0, rusage=rusage)])
    assert record["job_energy_joules"] is not None
    assert record["job_energy_joules"]["cpu"] == pytest.approx(80.0)
    shortest = account(
        [
            *events,
            used(0.1, 4.0, cpu=[None, 0.2, 0.4]),
            exited(0.1, rusage=rusage | {"user_seconds": 0.0, "system_seconds": 0.05}),
        ]
    )
    assert shortest["job_energy_joules"] is not None
    assert shortest["job_energy_joules"]["cpu"] == pytest.approx(1.0)


def test_a_figure_that_was_read_before_its_sample_counts_from_there() -> None:
    """The job is looked at each 5 s: between the looks its CPU time stands still in the samples, and is not nothing."""
    samples = [
        used(
            float(t),
            10.0 * t,
            cpu=[float(t - t % 5), 2.0 * t, 4.0 * t],
            **({"job_t": float(t - t % 5)} if t % 5 else {}),
        )
        for t in range(11)
    ]
    record = account(job_log(*samples, exited(10.0), devices=DEVICES[:1]))
    assert record["job_energy_joules"] is not None
    assert record["job_energy_joules"]["cpu"] == pytest.approx(50.0)


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
    assert "\n    the job's 320 J, CPU 300 J by CPU time, memory 20.0 J by memory given," in text
    assert "unsplit (no idle floor is known)" in text


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


FLOOR = {
    "cpu_watts": 4.0,
    "dram_watts": 1.0,
    "gpu_watts": {"gpu0": 2.0, "gpu1": 2.0},
    "measured_at": "2026-11-20T10:00:00Z",
    "seconds": 60.0,
    "devices": ["package-0", "package-0 dram", "gpu0", "gpu1"],
}
"""What the machine of these tests uses idle."""


def given_cpus(cpus: float, by: str = "cgroup", memory: int | None = 4 * GIB) -> Any:
    """Give what the `start` event says of a job that was given so many of four CPUs."""
    return {"cpus": cpus, "all_cpus": 4, "memory_bytes": memory, "by": by}


def scoped(scope: str, *events: Any, devices: Any = DEVICES, **more: Any) -> Any:
    """Give the record of a command that ran 10 s from the spawn, under a scope."""
    return account([start(*devices, config={"pue": 1.5, "scope": scope}, **more), spawned(0.0), *events, exited(10.0)])


BUSY = (
    used(0.0, 0.0, 0.0, cpu=[0.0, 0.0, 0.0], mem=[0, 8 * GIB, 16 * GIB]),
    used(10.0, 100.0, 40.0, cpu=[5.0, 10.0, 40.0], mem=[4 * GIB, 8 * GIB, 16 * GIB]),
)
"""100 J of the CPUs, of whose busy time half was the job's, and 40 J of the memory."""


def test_with_a_floor_idle_and_work_go_each_their_way() -> None:
    """40 J idle by one of four CPUs and 60 J by half of the busy time: 10 + 30; memory a quarter of 40 J, 10 J idle."""
    record = scoped("auto", *BUSY, floor=FLOOR, allocated=given_cpus(1.0))
    assert record["scope"] == "job"
    assert record["energy_joules"]["total"] == 140.0
    assert record["job_energy_joules"] == {"cpu": 40.0, "dram": 10.0, "gpu": None, "other": None, "total": 50.0}
    assert (record["share"]["method"], record["share"]["static"]) == ("split", "allocated-cpus")
    node, job = record["scopes"]["node"], record["scopes"]["job"]
    assert (node["static_joules"], node["dynamic_joules"]) == (50.0, 90.0)
    assert (job["static_joules"], job["dynamic_joules"]) == (12.5, 37.5)
    assert record["facility_energy_kwh"] == job["facility_energy_kwh"] == pytest.approx(1.5 * (12.5 + 37.5) / 3.6e6)
    assert record["energy_kwh"] == job["energy_kwh"] == pytest.approx(50.0 / 3.6e6)
    assert node["energy_kwh"] == pytest.approx(140.0 / 3.6e6)
    # a quarter of the smaller part of the dynamic 60 J, and of the memory's: 7.5 J and 2.5 J; the meters' own 5 %
    cpu, dram = (7.5**2 + 2.0**2) ** 0.5, (2.5**2 + 0.5**2) ** 0.5
    assert record["uncertainty_percent"] == pytest.approx(100.0 * (cpu + dram) / 50.0)
    text = terminal.render(record)
    assert "25 % of it is the idle floor, calibrated 2026-11-20" in text
    assert "unsplit" not in text
    assert "the job's part of the machine" in text


def test_the_floor_of_other_devices_is_none() -> None:
    """A floor that was calibrated for a part of the counted devices says nothing of all of them."""
    record = scoped("job", *BUSY, floor=FLOOR | {"devices": ["package-1"]}, allocated=given_cpus(1.0))
    assert record["job_energy_joules"]["cpu"] == pytest.approx(50.0)
    assert (record["share"]["method"], record["scopes"]["node"]["static_joules"]) == ("unsplit", None)
    assert "unsplit (no idle floor is known)" in " ".join(terminal.render(record).split())


def test_who_was_given_no_part_pays_the_floor_by_its_time() -> None:
    """Two commands that may use all CPUs would else pay for it twice."""
    record = scoped("job", *BUSY, floor=FLOOR, allocated=given_cpus(4.0, by="all"))
    assert record["job_energy_joules"]["cpu"] == pytest.approx(50.0)
    assert (record["share"]["static"], record["scopes"]["node"]["static_joules"]) == ("busy-time", 50.0)


@pytest.mark.parametrize(
    ("asked", "allocated", "scope"),
    [
        ("auto", None, "node"),
        ("auto", given_cpus(4.0, by="all"), "node"),
        ("auto", given_cpus(4.0, by="slurm"), "node"),
        ("auto", given_cpus(1.5), "job"),
        ("auto", given_cpus(2.0, by="affinity"), "job"),
        ("node", given_cpus(1.0), "node"),
        ("job", None, "job"),
    ],
)
def test_whose_the_figures_are(asked: str, allocated: Any, scope: str) -> None:
    """As asked; by itself the job's where it was given a part of the machine. Both are there in any case."""
    record = scoped(asked, *BUSY, allocated=allocated)
    assert record["scope"] == scope
    whose = record["energy_joules"] if scope == "node" else record["job_energy_joules"]
    assert record["energy_kwh"] == pytest.approx(whose["total"] / 3.6e6)
    assert record["scopes"]["job"] is not None
    assert [warned for warned in record["warnings"] if warned["code"] == "scope"] == []


@pytest.mark.parametrize("scope", ["node", "job"])
def test_an_old_run_is_told_in_another_scope(scope: str) -> None:
    """What if: no new measurement, and predictions of the other scope are held against nothing."""
    joules = {"value": 100.0, "low": 90.0, "high": 110.0}
    made = {"event": "prediction", "t": 5.0, "after_epoch": 1, "epochs": 1, "rule": None, "scope": "node"}
    made |= {"duration_seconds": joules, "energy_joules": joules, "co2e_grams": None}
    events = [start(*DEVICES, allocated=given_cpus(1.0)), spawned(0.0), *BUSY[:1], made, *BUSY[1:]]
    events += [{"event": "epoch", "t": 9.0, "n": 1, "of": 1, "mark": "end", "from": "marks"}, exited(10.0)]
    assert account(events)["scope"] == "node"  # a log from before scopes
    record = account(events, WhatIf(scope=scope))
    assert record["scope"] == scope
    assert record["prediction"] is not None
    (told,) = record["prediction"]["made"]
    assert (told["energy_joules"] is None) == (scope == "job")
    assert told["error_percent"]["duration_seconds"] == pytest.approx(900.0)


def test_a_job_whose_part_is_not_known_is_the_node_and_says_why() -> None:
    """Asked for, one warning; by itself none."""
    unseen = [event | {"cpu": [None, *event["cpu"][1:]]} for event in BUSY]
    record = scoped("job", *unseen, allocated=given_cpus(1.0))
    assert record["scope"] == "node"
    (warned,) = [warned for warned in record["warnings"] if warned["code"] == "scope"]
    assert "no CPU time of the job was seen" in warned["message"]
    assert record["energy_kwh"] == pytest.approx(140.0 / 3.6e6)
    assert [w for w in scoped("auto", *unseen, allocated=given_cpus(1.0))["warnings"] if w["code"] == "scope"] == []
    gpu = (*DEVICES, device("gpu0", kind="gpu"))
    events = [event | {"j": [*event["j"], 5.0 * event["t"]]} for event in BUSY]
    (warned,) = [w for w in scoped("job", *events, devices=gpu)["warnings"] if w["code"] == "scope"]
    assert "a GPU may or may not have been the job's" in warned["message"]


def test_what_stands_for_several_ranks_has_no_part_of_its_own() -> None:
    """The first rank of a node measures for all, and sees the CPU time of its own processes alone."""
    record = scoped("job", *BUSY, allocated=given_cpus(1.0), for_ranks=True)
    assert (record["scope"], record["share"]["cpu"], record["job_energy_joules"]["total"]) == ("node", None, None)
    (warned,) = [warned for warned in record["warnings"] if warned["code"] == "scope"]
    assert "stands for several ranks" in warned["message"]
    assert scoped("auto", *BUSY, allocated=given_cpus(1.0), for_ranks=True)["scope"] == "node"


def test_a_job_that_is_known_for_half_of_its_time_is_partial() -> None:
    """Its figures are a lower bound, and say so."""
    lost = [*BUSY[:1], used(5.0, 50.0, 20.0, cpu=[2.5, 5.0, 20.0], mem=BUSY[1]["mem"])]
    last = used(10.0, 100.0, 40.0, cpu=[None, 10.0, 40.0], mem=BUSY[1]["mem"])
    record = scoped("job", *lost, last, allocated=given_cpus(1.0))
    assert (record["scope"], record["status"]) == ("job", "partial")
    assert "known of 50 % of its time" in next(w["message"] for w in record["warnings"] if w["code"] == "scope")


def test_gpus_by_slice_by_use_and_not_at_all() -> None:
    """Two sevenths of a GPU; half, then none of what was used of another; all of a third; nothing of a fourth."""
    gpus = (
        device("slice", kind="gpu", job_part=2.0 / 7.0),
        device("shared", kind="gpu"),
        device("own", kind="gpu", of_job=True),
        device("neighbour", kind="gpu", of_job=False),
    )
    events = [
        used(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, cpu=[0.0, 0.0, 0.0]),
        used(
            5.0,
            10.0,
            70.0,
            100.0,
            10.0,
            10.0,
            cpu=[5.0, 5.0, 20.0],
            gpu=[[None, None], [0.9, 0.5], [1.0, None], [0.0, None]],
        ),
        used(
            10.0,
            20.0,
            140.0,
            300.0,
            20.0,
            20.0,
            cpu=[10.0, 10.0, 40.0],
            gpu=[[None, None], [0.0, None], [1.0, None], [0.0, None]],
        ),
    ]
    record = scoped("auto", *events, devices=(DEVICES[0], *gpus))
    assert record["scope"] == "job"
    told = {entry["id"]: entry for entry in record["devices"]}
    assert [told[name]["job_energy_joules"] for name in ("slice", "shared", "own", "neighbour")] == pytest.approx(
        [40.0, 50.0, 20.0, 0.0]
    )
    assert [told[name]["job_method"] for name in ("slice", "shared", "own")] == ["estimate", "estimate", "counter"]
    assert told["shared"]["method"] == "counter"  # the machine's was measured
    assert told["slice"]["job_uncertainty_percent"] == pytest.approx(100.0 * (20.0**2 + 2.0**2) ** 0.5 / 40.0)
    assert (record["share"]["gpu"], record["share"]["known_percent"]) == ("utilisation", 100.0)  # unused is nobody's
    text = " ".join(terminal.render(record).split())
    assert "partly estimated" in text
    assert "by utilisation, estimated" in text
    assert "neighbour" not in text


def test_who_owns_a_gpu_may_be_known_in_the_end() -> None:
    """The last word in the log holds: a GPU where no process of the job was seen is not the job's."""
    gpus = (device("gpu0", kind="gpu"), device("gpu1", kind="gpu"))
    words = [{"id": "gpu0", "of_job": True}, {"id": "gpu1", "of_job": False}]
    whose = {
        "event": "whose",
        "t": 9.0,
        "devices": [word | {"job_part": None, "shared": False, "note": ""} for word in words],
    }
    events = [used(0.0, 0.0, 0.0, 0.0, cpu=[0.0, 0.0, 0.0]), used(10.0, 10.0, 30.0, 50.0, cpu=[9.0, 9.0, 40.0])]
    record = scoped("job", *events, whose, devices=(DEVICES[0], *gpus))
    assert (record["scope"], record["job_energy_joules"]["gpu"], record["energy_joules"]["gpu"]) == ("job", 30.0, 80.0)
    # It was not kept from the job, which just did not use it: by itself the record stays the whole machine's.
    assert scoped("auto", *events, whose, devices=(DEVICES[0], *gpus))["scope"] == "node"


def test_all_that_is_told_over_time_is_the_scopes() -> None:
    """Epochs, phases, budget, intervals and what is plotted add up to the job's figures, hour by hour."""
    marks = [
        {"event": "epoch", "t": t, "n": n, "of": 2, "mark": "end", "from": "marks"} for t, n in ((4.0, 1), (10.0, 2))
    ]
    phase = [{"event": "phase", "t": t, "name": "fit", "mark": mark} for t, mark in ((0.0, "start"), (10.0, "end"))]
    config = {"pue": 1.0, "scope": "auto", "budget": {"quantity": "energy_joules", "limit": 60.0, "action": "warn"}}
    first = start(*DEVICES, config=config, floor=FLOOR, allocated=given_cpus(1.0))
    events = [
        first,
        intensity(360.0),
        spawned(0.0),
        BUSY[0],
        *phase[:1],
        marks[0],
        BUSY[1],
        marks[1],
        phase[1],
        exited(10.0),
    ]
    record = account(events)
    assert record["scope"] == "job"
    assert sum(epoch["energy_joules"] or 0.0 for epoch in record["epochs"]) == pytest.approx(50.0)
    assert record["phases"][0]["energy_joules"] == pytest.approx(50.0)
    assert record["budget"] is not None
    assert (record["budget"]["spent"], record["budget"]["exceeded"]) == (pytest.approx(50.0), False)
    assert record["co2e_grams"] == pytest.approx(50.0 / 3.6e6 * 360.0)
    assert sum(span["co2e_grams"] or 0.0 for span in record["intensity"]["spans"]) == pytest.approx(
        record["co2e_grams"]
    )
    cells = list(intervals.intervals(Told(record, events), 2.5))
    assert sum(cell.energy_joules or 0.0 for cell in cells) == pytest.approx(50.0)
    plotted = series.series(record, events)
    assert plotted is not None
    assert plotted.grams[-1] == pytest.approx(record["co2e_grams"])
    node = account(events, WhatIf(scope="node"))
    assert (node["budget"] or {})["exceeded"] is True


def test_every_format_tells_the_figure_of_the_scope() -> None:
    """50 J of 140 J: whoever names an energy names the job's, or says that it is the machine's."""
    record = scoped("auto", *BUSY, floor=FLOOR, allocated=given_cpus(1.0))
    events = [
        start(*DEVICES, config={"scope": "auto"}, floor=FLOOR, allocated=given_cpus(1.0)),
        spawned(0.0),
        *BUSY,
        exited(10.0),
    ]
    told = Told(record, events)

    def rendered(name: str) -> str:
        text = formats.render_runs(name, [told])
        return text if isinstance(text, str) else text.decode()

    assert "50.0 J" in rendered("statement")
    assert "its part of what the machine used in that time (140 J)" in rendered("statement")
    assert "whole machine" not in rendered("statement")
    assert "50.0 J" in rendered("markdown")
    (row,) = csv.DictReader(rendered("csv").splitlines())
    assert (row["scope"], float(row["energy_joules"]), float(row["node_energy_joules"])) == ("job", 50.0, 140.0)
    assert float(row["energy_kwh"]) == pytest.approx(50.0 / 3.6e6)
    assert "greenrun_run_energy_joules{" in rendered("openmetrics")
    values = dict(
        re.findall(r"^(greenrun_run_\w*energy_joules)\{[^}]*\} (\S+)$", rendered("openmetrics"), re.MULTILINE)
    )
    assert values["greenrun_run_energy_joules"] == values["greenrun_run_job_energy_joules"] == "50.0"
    assert values["greenrun_run_node_energy_joules"] == "140.0"
    assert "the job's part of the machine while it ran" in rendered("html").replace("&#39;", "'").replace("&#x27;", "'")
    assert json.loads(rendered("jsonl"))["scopes"]["node"]["energy_kwh"] == pytest.approx(140.0 / 3.6e6)


floors = st.one_of(st.none(), st.floats(0.0, 200.0))


@given(steps, floors, st.lists(st.floats(0.0, 2.0), min_size=3, max_size=3), st.lists(st.floats(0.0, 1.0), max_size=12))
def test_static_and_dynamic_parts_never_add_up_to_more_than_the_nodes(
    work: Any, floor: Any, cpus: Any, uses: Any
) -> None:
    """Three jobs with parts of six CPUs and of a shared GPU: floor, rest and whole are within the node's, each."""
    uses = [*uses, *[0.3] * len(work)]
    records = []
    for number in range(3):
        t, joules, busy, own = 0.0, 0.0, 0.0, 0.0
        samples = [used(0.0, 0.0, 0.0, 0.0, cpu=[0.0, 0.0, 0.0], mem=[0, 8 * GIB, 16 * GIB], gpu=[[None, None]])]
        for (seconds, watts, loads, sizes), use in zip(work, uses, strict=False):
            t, joules = t + seconds, joules + watts * seconds
            busy, own = busy + sum(loads) * seconds, own + loads[number] * seconds
            mem, gpu = (
                [sizes[number] * GIB, 8 * GIB, 16 * GIB],
                [[1.0, (use, (1.0 - use) / 2.0, (1.0 - use) / 2.0)[number]]],
            )
            samples.append(used(t, joules, joules / 3.0, joules * 2.0, cpu=[own, busy, 4.0 * t], mem=mem, gpu=gpu))
        told = None if floor is None else FLOOR | {"cpu_watts": floor, "dram_watts": floor / 5.0}
        given_out = {"cpus": cpus[number], "all_cpus": 6, "memory_bytes": None, "by": "cgroup"}
        devices = (*DEVICES, device("gpu0", kind="gpu"))
        first = start(*devices, config={"scope": "job"}, floor=told, allocated=given_out)
        records.append(account([first, spawned(0.0), *samples, exited(t)]))
    node = records[0]["scopes"]["node"]
    jobs = [record["scopes"]["job"] for record in records]
    for kind in ("cpu", "dram", "gpu", "total"):
        whole = records[0]["energy_joules"][kind]  # type: ignore[literal-required]
        shares = [record["job_energy_joules"][kind] for record in records]  # type: ignore[index, literal-required]
        assert all(one >= 0.0 for one in shares)
        assert sum(shares) <= whole * (1.0 + 1e-9) + 1e-9
    assert all(record["scope"] == "job" for record in records)
    for name in ("static_joules", "dynamic_joules", "co2e_grams"):
        parts = [0.0 if job is None else job[name] or 0.0 for job in jobs]  # type: ignore[literal-required]
        assert min(parts) >= -1e-9
        assert sum(parts) <= (node[name] or 0.0) * (1.0 + 1e-9) + 1e-6 or node[name] is None  # type: ignore[literal-required]
    assert (node["static_joules"] is None) == (floor is None)
    if node["static_joules"] is not None:
        assert node["static_joules"] + (node["dynamic_joules"] or 0.0) == pytest.approx(
            records[0]["energy_joules"]["total"]
        )
