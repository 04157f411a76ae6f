"""How predictions are told in the end: beside what came of them."""

from __future__ import annotations

from typing import Any

from greenrun.reports import predicted, terminal
from greenrun.reports.record import Prediction


def made(after: int, factor: float, joules: float | None = 5e5) -> Any:
    """Give the prediction after an epoch of fifty, off by a factor; its ranges are a tenth to either side."""

    def around(true: float | None) -> dict[str, float] | None:
        return (
            None if true is None else {"value": true * factor, "low": true * factor * 0.9, "high": true * factor * 1.1}
        )

    def of_each(value: Any) -> dict[str, Any]:
        return {"duration_seconds": value, "energy_joules": None if joules is None else value, "co2e_grams": None}

    return {
        "after_epoch": after,
        "epochs": 50,
        "rule": "the first epoch alone",
        "duration_seconds": around(3600.0),
        "energy_joules": around(joules),
        "co2e_grams": None,
        "error_percent": of_each(100.0 * (factor - 1.0)),
        "within": of_each(0.9 * factor <= 1.0 <= 1.1 * factor),
    }


def told(*predictions: Any, joules: float | None = 5e5, stopped_early: bool = False, epochs: int = 50) -> str:
    """Give the entries as the summary shows them, of a job that had so many epochs."""
    whole: Prediction = {
        "made": list(predictions),
        "actual": {"duration_seconds": 3600.0, "energy_joules": joules, "co2e_grams": None},
        "error_percent": predictions[0]["error_percent"],
        "planned_epochs": 50,
        "stopped_early": stopped_early,
    }
    return "".join(terminal.entry(label, text) for label, text in predicted.entries(whole, epochs))


def test_predictions_stand_above_what_came_of_them() -> None:
    """The first two, and those after a tenth, a quarter and a half of the epochs; what lay outside has a mark."""
    text = told(*(made(after, 1.0 + 0.3 / after) for after in range(1, 50)))
    assert text == (
        "  predicted   after     time                 energy\n"
        "              1 of 50   1 h 18 min +30.0 %*  181 Wh +30.0 %*\n"
        "              2 of 50   1 h 9 min +15.0 %*   160 Wh +15.0 %*\n"
        "              5 of 50   1 h 3 min +6.0 %     147 Wh +6.0 %\n"
        "              12 of 50  1 h 1 min +2.5 %     142 Wh +2.5 %\n"
        "              25 of 50  1 h 0 min +1.2 %     141 Wh +1.2 %\n"
        "              actual    1 h 0 min            139 Wh\n"
        "              * the actual value was outside of the 90 % range (2 of 49\n"
        "              predictions)\n"
    )


def test_a_later_prediction_stands_in_for_one_that_is_missing() -> None:
    """Predictions are made anew when there is enough to go by, not after each epoch; none stands there twice."""
    text = told(made(3, 1.0), made(30, 1.0))
    assert [line.split()[0] for line in text.splitlines()] == ["predicted", "3", "30", "actual"]


def test_what_is_not_known_has_no_column() -> None:
    """Energy that was not measured is no column of dashes."""
    assert "energy" not in told(made(1, 1.0, joules=None), joules=None)


def test_a_job_that_ended_before_its_last_epoch() -> None:
    """There is nothing to hold the prediction against, and it was not wrong."""
    text = " ".join(told(made(1, 1.3), stopped_early=True).split())
    assert text == (
        "predicted 1 h 18 min, 181 Wh for 50 epochs, after epoch 1 of 50; "
        "it ended before, so that this was an upper bound"
    )


def test_a_job_that_went_on() -> None:
    """It had more epochs than were predicted, and the error is no fault of the prediction's alone."""
    text = told(made(1, 0.5), epochs=100)
    assert text.endswith("predicted were 50 epochs, but the job had 100\n")
    assert "but the job" not in told(made(1, 0.5))


def test_a_forecast_behind_the_grams_is_told() -> None:
    """And for how much of the time; without one nothing is said."""
    amount = {"value": 100.0, "low": 90.0, "high": 120.0}

    def line(percent: float | None) -> str:
        ahead = None if percent is None else {"forecast_percent": percent}
        fields = {"after_epoch": 1, "epochs": 9, "duration_seconds": amount, "co2e_grams": amount, "ahead": ahead}
        return predicted.line(fields, estimated=False)

    assert line(100.0).endswith(" of the prediction alone; CO2e by the forecast for the time to come")
    assert line(62.5).endswith("; CO2e by the forecast for 62 % of the time to come")
    assert line(0.0).endswith(" of the prediction alone")
    assert line(None).endswith(" of the prediction alone")
