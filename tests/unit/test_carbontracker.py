"""Logs of carbontracker: what it wrote itself (2.4.7, recorded), and the other forms that its versions write."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenrun.reports import carbontracker
from greenrun.sampler.prediction import Cost

RECORDED = Path(__file__).parent / "data" / "carbontracker" / "9992.769135_2026-11-22T080547Z_carbontracker"


def log(*messages: str) -> str:
    """Give a standard log with these messages."""
    return "".join(f"2023-05-01 12:00:{second:02d} - {message}\n" for second, message in enumerate(messages))


def test_the_recorded_log() -> None:
    """4 epochs at 200 W and 60 W; the second line speaks of a PUE, which is not in these powers."""
    found = carbontracker.parse(Path(f"{RECORDED}.log").read_text())
    assert found.version == "2.4.7"
    assert found.components == "GPU with device(s) A100. CPU with device(s) Xeon."
    assert [epoch.duration_seconds for epoch in found.epochs] == [3.1, 2.2, 2.2, 2.2]
    assert [epoch.energy_joules for epoch in found.epochs] == pytest.approx([806.0, 572.0, 572.0, 572.0])
    assert (found.unread, found.totals) == ((), False)


def test_the_recorded_output_log() -> None:
    """It has no epochs, and says which kind it is."""
    found = carbontracker.parse(Path(f"{RECORDED}_output.log").read_text())
    assert (found.epochs, found.totals) == ([], True)


def test_a_power_for_each_device() -> None:
    """As measured on real hardware; an array of many goes on over several lines."""
    found = carbontracker.parse(
        log(
            "carbontracker version 1.1.7",
            "Epoch 1:",
            "Duration: 1:02:03.50",
            "Average power usage (W) for gpu: [100.5 50. ]",
            "Average power usage (W) for cpu: [10.]",
            "Epoch 2:",
            "Duration: 0:00:10.00",
            "Average power usage (W) for gpu: [10. 10. 10. 10. 10. 10. 10. 10.\n 10. 1.e+01]",
            "Average power usage (W) for cpu: [1.5e+01]",
            "Monitoring thread ended.",
        )
    )
    assert found.version == "1.1.7"
    assert found.epochs == [Cost(3723.5, 160.5 * 3723.5), Cost(10.0, 1150.0)]


@pytest.mark.parametrize("missing", ["None", "[nan nan]", "nan", "[]", "what is this", "[inf]"])
def test_a_power_that_was_not_read(missing: str) -> None:
    """It is no 0: the epoch's energy is unknown, its time is known."""
    block = ("Epoch 1:", "Duration: 0:00:02.00", "Average power usage (W) for gpu: [5.]")
    found = carbontracker.parse(log(*block, f"Average power usage (W) for cpu: {missing}"))
    assert found.epochs == [Cost(2.0, None)]
    assert found.unread == ("cpu",)


def test_a_component_that_is_always_nought() -> None:
    """Without rights to the CPU's counter it reads 0 W: that is told; where it is all there is, nothing is known."""
    block = ("Duration: 0:00:02.00", "Average power usage (W) for cpu: [0.]")
    beside = carbontracker.parse(log(*block, "Average power usage (W) for gpu: [7.]"))
    assert (beside.epochs, beside.unread) == ([Cost(2.0, 14.0)], ("cpu",))
    alone = carbontracker.parse(log(*block))
    assert (alone.epochs, alone.unread) == ([Cost(2.0, None)], ("cpu",))
    none = carbontracker.parse(log("Duration: 0:00:02.00"))
    assert none.epochs == [Cost(2.0, None)]


def test_a_clock_that_was_set_back() -> None:
    """Version 2 writes a negative duration then: no epoch takes that."""
    block = ("Epoch 1:", "Duration: -0:00:02.00", "Average power usage (W) for gpu: [5.]")
    assert carbontracker.parse(log(*block)).epochs == []


@pytest.mark.parametrize("text", ["", "\n\n", "Epoch 1/3\nloss 0.3\n", "Duration: 0:00:02.00\n", "\0\udcff"])
def test_what_is_no_such_log(text: str) -> None:
    """Nothing is found in it, and nothing raised."""
    assert carbontracker.parse(text) == carbontracker.Log(None, "", [], (), False)
