"""Every record that the account can make holds to summary.schema.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.data.logs import device, end, epoch, exited, hour, intensity, joined, sample, spawned, start, warning, yearly

from greenrun import reports
from greenrun.reports import jsonfile
from greenrun.reports.account import WhatIf, account
from greenrun.reports.record import Record
from greenrun.sampler import runlog

SCHEMA = json.loads((Path(reports.__file__).parent / "summary.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
GOLDEN = Path(__file__).parent / "data" / "two-sockets"


def test_the_schema_is_a_schema() -> None:
    """It holds to the rules of JSON Schema 2020-12."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_and_the_types_name_the_same_fields() -> None:
    """A field is in both or in neither, in the same order."""
    assert list(Record.__annotations__) == list(SCHEMA["properties"]) == SCHEMA["required"]


def test_the_golden_record() -> None:
    """Two sockets, two GPUs and an hour boundary: figure for figure, and valid."""
    golden = json.loads((GOLDEN / "summary.json").read_text())
    VALIDATOR.validate(golden)
    assert json.loads(jsonfile.render(account(runlog.read(str(GOLDEN))))) == golden


@pytest.mark.parametrize(
    "change",
    [
        {"status": "done"},
        {"energy_kwh": "0.1"},
        {"energy_kwh": -1.0},
        {"exit_code": True},
        {"started_at": "yesterday"},
        {"pue": 0.9},
        {"more": 1},
        {"intensity": None},
    ],
)
def test_the_schema_refuses_what_is_wrong(change: dict[str, Any]) -> None:
    """A schema that lets everything pass would be worth nothing."""
    golden = json.loads((GOLDEN / "summary.json").read_text())
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(golden | change)


def test_the_schema_wants_every_field() -> None:
    """Unknown is null; a field that is missing is a mistake."""
    golden = json.loads((GOLDEN / "summary.json").read_text())
    for name in SCHEMA["required"]:
        with pytest.raises(jsonschema.ValidationError):
            VALIDATOR.validate({key: value for key, value in golden.items() if key != name})


seconds = st.floats(min_value=0.0, max_value=1e4, allow_nan=False)
percents = st.floats(min_value=0.0, max_value=200.0)
hours = st.one_of(st.none(), st.integers(0, 23).map(lambda hour: f"2026-01-01T{hour:02d}:00:00Z"))
ranges = st.one_of(st.none(), st.fixed_dictionaries({name: st.floats(0.0, 1e6) for name in ("value", "low", "high")}))
devices = st.lists(
    st.builds(
        device,
        st.text(min_size=1, max_size=5),
        kind=st.sampled_from(["cpu", "dram", "gpu", "other"]),
        method=st.sampled_from(["counter", "power", "estimate"]),
        percent=percents,
        counted=st.booleans(),
        trusted=st.booleans(),
        from_t=seconds,
    ),
    max_size=4,
)


@st.composite
def samples(draw: st.DrawFn) -> list[Any]:
    """Draw samples of cumulative joules that never fall, with holes and arrays that are too short."""
    totals = [0.0] * 4
    out = []
    for t in sorted(draw(st.lists(seconds, max_size=8))):
        totals = [total + draw(st.floats(0.0, 1e6)) for total in totals]
        known = [total if draw(st.booleans()) else None for total in totals]
        out.append(sample(t, *known[: draw(st.integers(0, 4))]))
    return out


markers = ["output", "marks"]
BASES = ["lifecycle", "direct", None]
others = st.one_of(
    st.builds(spawned, seconds),
    st.builds(exited, seconds, st.one_of(st.none(), st.integers(0, 255))),
    st.builds(end, seconds),
    st.builds(joined, seconds),
    st.builds(intensity, st.floats(0.0, 2e3), hours, hours, uncertainty_percent=percents),
    st.builds(hour, st.floats(0.0, 2e3), hours, hours, estimated=st.booleans(), basis=st.sampled_from(BASES)),
    st.builds(yearly, st.one_of(st.none(), st.floats(0.0, 2e3))),
    st.builds(
        epoch, seconds, st.integers(0, 9), st.sampled_from(["start", "end"]), st.sampled_from(["output", "marks"])
    ),
    st.builds(
        warning,
        seconds,
        st.sampled_from(["gap", "reset", "lost", "ambiguous", "config"]),
        st.just("A sentence."),
        device=st.one_of(st.none(), st.text(min_size=1, max_size=5)),
        from_t=st.one_of(st.none(), seconds),
        to_t=st.one_of(st.none(), seconds),
    ),
    st.fixed_dictionaries(
        {
            "event": st.just("prediction"),
            "t": seconds,
            "after_epoch": st.integers(1, 9),
            "epochs": st.integers(1, 9),
            "duration_seconds": ranges,
            "energy_joules": ranges,
            "co2e_grams": ranges,
        }
    ),
    st.fixed_dictionaries(
        {
            "event": st.just("clock"),
            "t": seconds,
            "utc_step_seconds": st.floats(-1e5, 1e5),
            "suspended_seconds": st.floats(0.0, 1e5),
        }
    ),
    st.fixed_dictionaries(
        {"event": st.just("metric"), "t": seconds, "name": st.text(max_size=3), "value": st.floats()}
    ),
    st.just({"event": "not-started", "t": 0.0, "exit_code": 126, "reason": "x: not executable"}),
    st.just({"event": "of the future", "t": 0.0}),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(devices, samples(), st.lists(others, max_size=8), st.randoms(use_true_random=False), st.booleans())
def test_any_log_makes_a_valid_record(
    entries: list[Any], read: list[Any], more: list[Any], random: Any, asked: bool
) -> None:
    """Whatever was logged, in whatever order: a valid record, in which the parts make the whole."""
    events = [*read, *more]
    random.shuffle(events)
    record = account([start(*entries), *events], WhatIf(1.5, [intensity(100.0)]) if asked else None)
    text = jsonfile.render(record)  # fails on what is not finite
    VALIDATOR.validate(json.loads(text))
    kinds = [value for kind, value in record["energy_joules"].items() if kind != "total" and value is not None]
    if kinds:
        assert record["energy_joules"]["total"] == pytest.approx(sum(kinds), rel=1e-9, abs=1e-9)
    grams, low, high = record["co2e_grams"], record["co2e_low_grams"], record["co2e_high_grams"]
    if grams is not None:
        assert low is not None
        assert high is not None
        assert 0.0 <= low <= grams <= high
        parts = [span["co2e_grams"] or 0.0 for span in record["intensity"]["spans"]]
        assert grams == pytest.approx(sum(parts), rel=1e-9, abs=1e-9)
        kwh = [span["facility_energy_kwh"] or 0.0 for span in record["intensity"]["spans"]]
        assert record["facility_energy_kwh"] == pytest.approx(sum(kwh), rel=1e-9, abs=1e-9)
