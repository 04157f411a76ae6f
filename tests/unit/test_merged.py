"""Many records of a job as one: each node once, each requeue for itself, whatever was measured on it and by whom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.data.jobs import killed, log
from unit.data.logs import device, epoch, exited, hour, intensity, sample, spawned, start

from greenrun import reports
from greenrun.reports import jobtext, jsonfile
from greenrun.reports.account import account
from greenrun.reports.accounting import Accounted
from greenrun.reports.jobrecord import Attempt, JobNode, JobRecord, Who
from greenrun.reports.merged import NoJob, Run, by_job, merge

SCHEMA = json.loads((Path(reports.__file__).parent / "job.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def run(events: list[Any]) -> Run:
    """Give a run as it is read from its log."""
    return Run(account(events), events)


def merged(*logs: list[Any], **more: Any) -> JobRecord:
    """Merge logs, and see that the record is what its schema says, and can be told in lines that fit."""
    record = merge([run(events) for events in logs], **more)
    VALIDATOR.validate(json.loads(jsonfile.document(record)))
    assert all(len(line) <= 80 for line in jobtext.render(record).splitlines())
    return record


def codes(record: JobRecord) -> list[str]:
    """Give the codes of a record's warnings, but for the intensity's, which these logs lack."""
    return [warned["code"] for warned in record["warnings"] if warned["code"] != "intensity"]


def row(state: str, begin: str, end: str, **more: str) -> Accounted:
    """Give one of sacct's rows."""
    fields = dict.fromkeys(Accounted.__annotations__, "") | {
        "JobIDRaw": "1234",
        "JobID": "1234",
        "State": state,
        "Start": f"2026-01-01T{begin}",
        "End": f"2026-01-01T{end}" if end else "Unknown",
        "ExitCode": "0:0",
    }
    return fields | more  # type: ignore[return-value]


EXACT = intensity(360.0)


def test_the_schema_and_the_types_name_the_same_fields() -> None:
    """A field is in both or in neither."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(JobRecord.__annotations__) == set(SCHEMA["properties"]) == set(SCHEMA["required"])
    for name, described in (("node", JobNode), ("attempt", Attempt), ("who", Who)):
        definition = SCHEMA["$defs"][name]
        assert set(described.__annotations__) == set(definition["properties"]) == set(definition["required"])


def test_two_nodes_add_up() -> None:
    """65 W and 120 W for ten seconds: 1,850 J, each node beside the other, with hours and CO2e."""
    record = merged(log(65.0, 10, EXACT, run_id="1"), log(120.0, 10, EXACT, run_id="2", node="n2"))
    assert record["status"] == "complete"
    assert record["energy_joules"]["total"] == pytest.approx(1850.0)
    assert [(node["NodeName"], node["energy_joules"]["cpu"]) for node in record["nodes"]] == [
        ("n1", 650.0),
        ("n2", 1200.0),
    ]
    assert record["co2e_grams"] == pytest.approx(0.185)
    assert record["duration_seconds"] == 10.0
    assert record["node_hours"] == pytest.approx(20.0 / 3600.0)
    assert record["job"]["User"] == "ada"
    assert record["job"]["Partition"] == "gpu"
    assert record["job"]["ExitCode"] == "0:0"
    assert record["warnings"] == []
    text = jobtext.render(record)
    assert text.startswith("greenrun: job 1234 of ada ran for 10.0 s on 2 nodes; SLURM told no error\n")
    assert "    node      n1: 650 J +-5.0 %\n    node      n2: 1200 J +-5.0 %\n" in text


def test_errors_of_one_method_add_over_nodes_and_methods_do_not_know_each_other() -> None:
    """Counters 5 % off on two nodes are 5 % off together; an estimate of 50 % beside them adds as a square."""
    counted = merged(log(100.0, 10, run_id="1"), log(100.0, 10, run_id="2", node="n2"))
    assert counted["uncertainty_percent"] == pytest.approx(5.0)
    guessed = device("package-0", method="estimate", percent=50.0)
    mixed = merged(log(100.0, 10, run_id="1"), log(100.0, 10, run_id="2", node="n2", devices=(guessed,)))
    assert mixed["uncertainty_percent"] == pytest.approx(100.0 * (50.0**2 + 500.0**2) ** 0.5 / 2000.0)
    assert mixed["estimated_joules"] == pytest.approx(1000.0)
    assert "50 % of it estimated" in jobtext.render(mixed)


def test_each_node_has_its_own_hours_of_intensity() -> None:
    """The sum of the nodes' grams, each with its own figures; what is wrong with the grid's is wrong for both."""
    ten, eleven = "2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z"
    record = merged(
        log(360.0, 10, hour(100.0, ten, eleven), run_id="1"),
        log(360.0, 10, hour(300.0, ten, eleven), run_id="2", node="n2"),
    )
    assert record["co2e_grams"] == pytest.approx(0.1 + 0.3)
    assert record["grams_per_kwh"] == pytest.approx(200.0)
    half_width = (0.05**2 + 0.15**2) ** 0.5 * 0.4  # 5 % of energy, 15 % of intensity, on both nodes
    assert record["co2e_high_grams"] == pytest.approx(0.4 + half_width)
    unknown = merged(log(360.0, 10, EXACT, run_id="1"), log(360.0, 10, run_id="2", node="n2"))
    assert unknown["co2e_grams"] is None


def test_the_sites_record_is_the_nodes() -> None:
    """Steps and ranks that ran while the site measured are a part of its record, and add nothing."""
    site = log(100.0, 20, run_id="1", nodes="n1")
    steps = [
        log(100.0, 5, at=2.0, kind="command", run_id="2", nodes="n1", SLURM_STEP_ID=0, SLURM_PROCID=0),
        log(100.0, 5, at=2.0, kind="command", run_id="3", nodes="n1", SLURM_STEP_ID=0, SLURM_PROCID=1),
        log(100.0, 5, at=9.0, kind="command", run_id="4", nodes="n1", SLURM_STEP_ID=1, SLURM_PROCID=0),
    ]
    record = merged(*steps, site)
    assert record["energy_joules"]["total"] == pytest.approx(2000.0)
    assert [(node["measured_by"], node["run_ids"]) for node in record["nodes"]] == [("site", [site[0]["run_id"]])]
    without_prolog = merged(*steps)
    assert without_prolog["energy_joules"]["total"] == pytest.approx(1000.0)
    assert without_prolog["nodes"][0]["measured_by"] == "commands"


def test_the_sites_record_is_whole_whatever_began_before_it() -> None:
    """A command that was there first, and one that went on after the site's daemon was killed: its rest is added."""
    site = killed(log(100.0, 10, at=5.0, run_id="1", nodes="n1"))
    early = log(500.0, 6, kind="command", run_id="2", nodes="n1")
    late = log(100.0, 20, at=10.0, kind="command", run_id="3", nodes="n1")
    record = merged(early, late, site)
    assert record["energy_joules"]["total"] == pytest.approx(1000.0 + 1500.0)
    assert record["nodes"][0]["run_ids"] == [site[0]["run_id"], late[0]["run_id"]]
    assert (record["nodes"][0]["measured_by"], record["status"]) == ("site", "partial")


def test_steps_add_up_and_what_they_share_counts_once() -> None:
    """[0, 10] and [6, 16] and [20, 25] on one node at 100 W are 21 s: 2,100 J, not 2,500."""
    record = merged(
        log(100.0, 10, kind="command", run_id="1", nodes="n1"),
        log(100.0, 10, at=6.0, kind="command", run_id="2", nodes="n1"),
        log(100.0, 5, at=20.0, kind="command", run_id="3", nodes="n1"),
    )
    assert record["energy_joules"]["total"] == pytest.approx(2100.0)
    assert record["node_hours"] == pytest.approx(21.0 / 3600.0)
    assert record["duration_seconds"] == 25.0


def test_what_is_left_of_a_step_is_told_from_its_log() -> None:
    """The second step drew 200 W in its last six seconds, which it had for itself: 1,000 + 1,200 J."""
    second = log(100.0, 10, at=6.0, kind="command", run_id="2", nodes="n1")
    for event in second:
        if event["event"] == "sample" and event["t"] > 4.0:
            event["j"] = [400.0 + (event["t"] - 4.0) * 200.0]
    record = merged(log(100.0, 10, kind="command", run_id="1", nodes="n1"), second)
    assert record["energy_joules"]["total"] == pytest.approx(1000.0 + 1200.0)


def test_ranks_of_a_node_count_once() -> None:
    """Four ranks of a node that each measured it: the node's energy once, and one of four is not another node's."""
    ranks = [
        log(65.0, 10, kind="command", run_id=str(rank), nodes="n1", SLURM_STEP_ID=0, SLURM_PROCID=rank)
        for rank in range(4)
    ]
    assert merged(*ranks)["energy_joules"]["total"] == pytest.approx(650.0)
    two_nodes = [*ranks, log(65.0, 10, kind="command", run_id="9", node="n2", SLURM_STEP_ID=0, SLURM_PROCID=4)]
    assert merged(*two_nodes)["energy_joules"]["total"] == pytest.approx(1300.0)


def test_the_wall_clock_that_was_set_does_not_move_steps_onto_each_other() -> None:
    """Two steps, one after the other; between them UTC was set back by 15 s: the clock of the boot tells."""
    second = log(100.0, 10, at=20.0, kind="command", run_id="2", nodes="n1")
    second[0]["utc"] = "2026-01-01T10:00:05.000Z"
    record = merged(log(100.0, 10, kind="command", run_id="1", nodes="n1"), second)
    assert record["energy_joules"]["total"] == pytest.approx(2000.0)


def test_a_copy_of_a_record_is_no_other_record() -> None:
    """The site's record of a node, and its copy in the user's directory."""
    record = merged(*[log(65.0, 10, run_id="1", nodes="n1")] * 2)
    assert (record["energy_joules"]["total"], codes(record)) == (pytest.approx(650.0), [])


def test_requeues_are_told_apart() -> None:
    """Begun on n1, begun anew on n2: both count, each as a run of its own, and the queue between them is no run."""
    first = log(100.0, 10, run_id="1", nodes="n1", RESTART_COUNT=0)
    again = log(100.0, 30, at=100.0, run_id="2", node="n2", nodes="n2", RESTART_COUNT=1)
    rows = [row("REQUEUED", "10:00:00", "10:00:10"), row("COMPLETED", "10:01:40", "10:02:10", Account="proj")]
    record = merged(first, again, accounted=rows)
    told = [(a["Restarts"], a["State"], a["energy_joules"]["total"], a["duration_seconds"]) for a in record["attempts"]]
    assert told == [(0, "REQUEUED", 1000.0, 10.0), (1, "COMPLETED", 3000.0, 30.0)]
    assert (record["duration_seconds"], record["energy_joules"]["total"]) == (40.0, 4000.0)
    assert (record["job"]["State"], record["job"]["Account"]) == ("COMPLETED", "proj")
    assert "  run         restart 1, 30.0 s, 1 node, 3000 J, COMPLETED" in jobtext.render(record).replace(
        "0.833 Wh", "3000 J"
    )


def test_a_node_without_a_record_makes_it_partial() -> None:
    """One of two nodes: its energy is what is known, and the record says that there was another."""
    record = merged(log(65.0, 10, run_id="1"))
    assert record["status"] == "partial"
    assert codes(record) == ["missing"]
    assert "no record of 1 of the job's 2 nodes" in jobtext.render(record)


def test_a_killed_node_makes_it_partial() -> None:
    """The log of a node that died has no end: it is told to where it reaches."""
    record = merged(log(65.0, 10, run_id="1"), killed(log(120.0, 7, run_id="2", node="n2")))
    assert record["status"] == "partial"
    assert [node["status"] for node in record["nodes"]] == ["complete", "partial"]
    assert record["energy_joules"]["total"] == pytest.approx(650.0 + 840.0)
    assert jobtext.render(record).startswith("greenrun: partial record: ")


def test_what_goes_on_and_what_cannot_be_read_makes_it_partial() -> None:
    """A daemon that still measures, a log that is damaged."""
    record = merged(log(65.0, 10, nodes="n1"), running=["n1"], left_out=["X is damaged."])
    assert (record["status"], codes(record)) == ("partial", ["running", "left-out"])


def test_a_node_of_which_nothing_is_known_is_not_0() -> None:
    """Its energy is null, the sums are of the other one, and the record is partial."""
    record = merged(log(65.0, 10, run_id="1"), log(0.0, 10, run_id="2", node="n2", devices=()))
    assert [node["energy_joules"]["total"] for node in record["nodes"]] == [650.0, None]
    assert (record["status"], record["energy_joules"]["total"]) == ("partial", 650.0)
    assert "unknown" in codes(record)
    nothing = merged(log(0.0, 10, nodes="n1", devices=()))
    assert nothing["energy_joules"]["total"] is None
    assert "energy      unknown" in jobtext.render(nothing)


def test_a_login_node_is_none_of_the_jobs() -> None:
    """A greenrun typed in salloc's shell measured another machine: left out, and said."""
    login = log(500.0, 10, kind="command", run_id="2", nodes="n1", SLURMD_NODENAME=None)
    login[0]["host"] = "login"
    record = merged(log(65.0, 10, run_id="1", nodes="n1"), login)
    assert record["energy_joules"]["total"] == pytest.approx(650.0)
    assert codes(record) == ["elsewhere"]
    login[0]["host"] = "n1.example.org"  # on a node of the job all the same
    assert merged(login)["nodes"][0]["NodeName"] == "n1"


def test_another_job_with_the_same_id_is_another_job() -> None:
    """Ids begin anew where SLURM's state is lost: the newest job is told, without the older one of another user."""
    older = log(500.0, 10, run_id="1", nodes="n1", SLURM_JOB_USER="bob")
    newer = log(65.0, 10, at=9e5, run_id="2", nodes="n1")
    record = merged(older, newer)
    assert (record["job"]["User"], record["energy_joules"]["total"]) == ("ada", 650.0)
    assert codes(record) == ["same-id"]
    told = [[one.record["job"]["User"] for one in runs] for runs in by_job([run(older), run(newer)])]  # type: ignore[index]
    assert told == [["ada"], ["bob"]]


def test_two_records_of_the_site_for_one_run_are_said() -> None:
    """A prolog that ran twice: what they share counts once, and the record says that there are two."""
    record = merged(log(100.0, 10, run_id="1", nodes="n1"), log(100.0, 10, at=5.0, run_id="2", nodes="n1"))
    assert record["energy_joules"]["total"] == pytest.approx(1500.0)
    assert "twice" in codes(record)


def test_the_jobs_share_is_the_sum_of_its_shares() -> None:
    """Half of n1 and a quarter of n2; where one node's is unknown, so is the sum."""
    record = merged(
        log(100.0, 10, EXACT, run_id="1", share=0.5), log(100.0, 10, EXACT, run_id="2", node="n2", share=0.25)
    )
    assert record["job_energy_joules"] is not None
    assert record["job_energy_joules"]["total"] == pytest.approx(750.0)
    assert record["job_co2e_grams"] == pytest.approx(0.075)
    assert "  the job's   share 750 J, 75.0 mg" in jobtext.render(record)
    half = merged(log(100.0, 10, run_id="1", share=0.5), log(100.0, 10, run_id="2", node="n2"))
    assert half["job_energy_joules"] is None
    assert half["job_co2e_grams"] is None


def test_gpu_hours_are_of_the_jobs_gpus() -> None:
    """Two GPUs on n1 as SLURM tells, one of three on n2 by its devices; one that may be the job's: unknown."""
    gpus = [device(f"gpu{n}", kind="gpu", of_job=n == 0) for n in range(3)]
    by_device = log(10.0, 36, run_id="2", node="n2", devices=(device("package-0"), *gpus))
    record = merged(log(65.0, 36, run_id="1", SLURM_JOB_GPUS="0,3"), by_device)
    assert record["gpu_hours"] == pytest.approx(0.03)
    maybe = log(10.0, 36, nodes="n1", devices=(device("package-0"), device("gpu0", kind="gpu", of_job=None)))
    assert merged(maybe)["gpu_hours"] is None
    assert merged(log(65.0, 36, nodes="n1"))["gpu_hours"] == 0.0


def test_epochs_come_from_the_first_rank() -> None:
    """The site's record has none; of two commands that have them it is task 0's."""
    marks = [epoch(1.0, 1, "start"), epoch(4.0, 1, "end")]
    more = [*marks, epoch(4.0, 2, "start"), epoch(5.0, 2, "end")]
    first = log(65.0, 10, *marks, kind="command", run_id="2", SLURM_STEP_ID=0, SLURM_PROCID=0)
    other = log(65.0, 10, *more, kind="command", run_id="3", node="n2", SLURM_STEP_ID=0, SLURM_PROCID=1)
    record = merged(log(65.0, 10, run_id="1"), log(65.0, 10, run_id="4", node="n2"), other, first)
    assert record["epochs"] is not None
    assert (record["epochs"]["NodeName"], len(record["epochs"]["epochs"])) == ("n1", 1)


def test_sacct_knows_best() -> None:
    """Name, account, array and state come from sacct; a row of another time is another job's."""
    rows = [
        row("TIMEOUT", "10:00:00", "10:00:10", JobID="1200_7", JobName="train", Account="proj", NNodes="2", UID="1000"),
        row("COMPLETED", "03:00:00", "03:10:00", JobName="older"),
    ]
    record = merged(log(65.0, 10, run_id="1"), log(65.0, 10, run_id="2", node="n2"), accounted=rows)
    assert record["job"] | {"NodeList": None} == {
        "Scheduler": "slurm",
        "JobID": "1200_7",
        "JobIDRaw": "1234",
        "ArrayJobID": "1200",
        "ArrayTaskID": "7",
        "JobName": "train",
        "User": "ada",
        "UID": 1000,
        "Account": "proj",
        "Partition": "gpu",
        "Cluster": "alpha",
        "NodeList": None,
        "NNodes": 2,
        "State": "TIMEOUT",
        "ExitCode": "0:0",
    }
    assert "job 1200_7 (train) of ada ran for 10.0 s on 2 nodes; TIMEOUT\n" in jobtext.render(record)
    unmatched = merged(log(65.0, 10, nodes="n1"), accounted=rows[1:])
    assert (unmatched["job"]["JobName"], unmatched["job"]["State"]) == (None, None)


def test_a_warning_of_many_nodes_is_one_warning() -> None:
    """Each sentence once, with the nodes that it is about."""
    record = merged(log(65.0, 10, run_id="1"), log(65.0, 10, run_id="2", node="n2"))
    assert record["warnings"] == [] or len({warned["message"] for warned in record["warnings"]}) == len(
        record["warnings"]
    )
    both = [warned for warned in record["warnings"] if warned["message"].startswith("n1, n2: ")]
    assert [warned["code"] for warned in both] == ["intensity"]


def test_what_is_no_job_is_refused() -> None:
    """A record without a scheduler, and none at all."""
    plain = [start(device("cpu")), spawned(0.0), sample(1.0, 1.0), exited(1.0)]
    with pytest.raises(NoJob):
        merge([run(plain)])
    with pytest.raises(NoJob):
        merge([])


def test_names_from_outside_move_no_cursor() -> None:
    """A job's name and user may hold anything."""
    record = merged(log(65.0, 10, nodes="n1", SLURM_JOB_NAME="\x1b[2J<b>\n$(x)", SLURM_JOB_USER="\x9bada"))
    text = jobtext.render(record)
    assert all(character.isprintable() or character == "\n" for character in text)
    assert record["job"]["JobName"] == "\x1b[2J<b>\n$(x)"
    assert "\x9b" not in jsonfile.document(record)


visits = st.tuples(
    st.integers(0, 1), st.integers(0, 2), st.integers(0, 40), st.integers(1, 15), st.booleans()
)  # restarts, node, begin, seconds, whether the site measured


@given(st.lists(visits, min_size=1, max_size=8))
def test_a_moment_of_a_node_counts_once(told: Any) -> None:
    """Whatever overlaps: each node counts as long as anything measured it, at its power, and no longer."""
    logs, covered = [], set()
    for number, (restarts, node, begin, seconds, _site) in enumerate(told):
        at = 1000.0 * restarts + begin
        logs.append(
            log(
                10.0 * (node + 1), seconds, EXACT, at=at, run_id=str(number), kind="command", node=f"n{node}",
                nodes="n0,n1,n2", SLURM_RESTART_COUNT=restarts, SLURM_STEP_ID=number, SLURM_PROCID=0,
            )
        )  # fmt: skip
        covered |= {(restarts, node, second) for second in range(begin, begin + seconds)}
    record = merged(*logs)
    joules = sum(10.0 * (node + 1) for _, node, _ in covered)
    assert record["energy_joules"]["total"] == pytest.approx(joules)
    assert record["node_hours"] * 3600.0 == pytest.approx(len(covered))
    assert record["co2e_grams"] == pytest.approx(joules / 1e4)
    for attempt in record["attempts"]:
        own = sum(10.0 * (node + 1) for restarts, node, _ in covered if restarts == attempt["Restarts"])
        assert attempt["energy_joules"]["total"] == pytest.approx(own)
