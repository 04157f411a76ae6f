"""Predicting the whole job from its first epochs."""

from __future__ import annotations

import collections
import hashlib
import json
import math
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from greenrun.sampler.prediction import Cost, Interval, extrapolate, predict, student_t_quantile

CORPUS = Path(__file__).resolve().parents[2] / "benchmarks" / "prediction"
COSTS = st.floats(1e-3, 1e6)


def interval(setup: float, done: list[float], total: int) -> Interval:
    """Give the prediction without its rule."""
    return extrapolate(setup, done, total)[0]


def rule(done: list[float], total: int = 100) -> str:
    """Give the rule alone."""
    return extrapolate(0, done, total)[1]


@given(COSTS, COSTS, st.integers(1, 300), st.integers(0, 500))
def test_constant_epochs_are_exact(setup: float, each: float, done: int, remaining: int) -> None:
    """Where every epoch costs the same, the prediction is exact, and nothing is made of the noise in the last digit."""
    found = interval(setup, [each] * done, done + remaining)
    assert found.value == pytest.approx(setup + each * (done + remaining))
    assert found.low <= found.value <= found.high
    assert rule([each] * done, done + 1) == ("the first epoch alone" if done == 1 else "all epochs so far")


@given(COSTS, st.lists(st.floats(0, 1e6), min_size=1, max_size=40), st.integers(0, 500))
@example(1.0, [0.0, 2.3e-308, 1.0, 0.0, 0.0, 1.0], 7)
@example(1.0, [0.0] * 5, 9)
def test_never_less_than_is_spent(setup: float, done: list[float], total: int) -> None:
    """Whatever the epochs were, the interval holds the value and nothing below what is spent."""
    found = interval(setup, done, total)
    spent = setup + math.fsum(done)
    assert 0 <= spent <= found.low <= found.value <= found.high
    assert all(math.isfinite(x) for x in (found.low, found.value, found.high))


@given(COSTS, st.lists(COSTS, min_size=1, max_size=30))
def test_last_epoch_done(setup: float, done: list[float]) -> None:
    """When all epochs are done, the prediction is their sum and certain."""
    found = interval(setup, done, len(done))
    assert found.low == found.value == found.high == setup + math.fsum(done)


@given(st.lists(st.floats(1.0, 5.0), min_size=1, max_size=40), st.integers(1, 500), st.integers(-20, 20))
@example([3.0, 1.75, 3.0, 1.75], 1, 1)  # without its period nothing is left but rounding
def test_any_unit(done: list[float], remaining: int, power: int) -> None:
    """A thousand times the cost gives a thousand times the prediction: seconds or hours, joules or kilowatt hours.

    The powers are of two, so that no rounding decides on a threshold.
    """
    scale = 2.0**power
    found = interval(3.0, done, len(done) + remaining)
    scaled = interval(3.0 * scale, [cost * scale for cost in done], len(done) + remaining)
    assert scaled == pytest.approx(tuple(scale * bound for bound in found))


@given(st.lists(st.floats(1.0, 5.0), min_size=1, max_size=40), st.integers(1, 500))
def test_more_epochs_cost_more(done: list[float], remaining: int) -> None:
    """One epoch more in the plan never makes the job cheaper, whatever drift was seen."""
    total = len(done) + remaining
    assert interval(0, done, total).value < interval(0, done, total + 1).value


def test_first_epoch() -> None:
    """After one epoch all comes from the priors, as worked out by hand."""
    found = interval(5, [10], 10)
    assert found.value == 105
    correlation = (3 * 0.3 - 1 + 1) / (3 + 1)
    noise = (3 * 0.08**2 / 3) * (1 + correlation) / (1 - correlation) * (1 + 1 / 9)
    drift = 0.3 * 0.6**2 * (10 / 2 / 10) ** 2
    half_width = 90 * 2.3534 * math.sqrt(noise + drift)
    assert found.high - found.value == pytest.approx(1.25 * half_width)
    assert found.low == pytest.approx(15 + 90 / 5)  # it may have been warm-up
    assert rule([10]) == "the first epoch alone"


def test_warm_up_is_left_out() -> None:
    """The first epochs count no more once one behind them shows that they were warm-up; what they took stays spent."""
    assert interval(0, [30, 10], 10).value == pytest.approx(30 + 10 + 8 * 10)
    assert rule([30, 10]) == "without the first epoch"
    assert interval(0, [40, 25, 15, 10, 10, 10, 10], 20).value == pytest.approx(120 + 13 * 10)
    assert rule([40, 25, 15, 10, 10, 10, 10]) == "without the first 3 epochs"


def test_noise_is_no_warm_up() -> None:
    """A first epoch that lies among the others is one of them."""
    assert interval(0, [11, 10], 10).value == pytest.approx(21 + 8 * 10.5)
    assert interval(0, [12, 9, 11, 8, 10], 10).value == pytest.approx(50 + 5 * 10, rel=0.05)
    assert "first" not in rule([12, 9, 11, 8, 10])


def test_a_freak_epoch_counts_as_three() -> None:
    """A job that was stopped for an hour in one epoch will hardly be stopped in each."""
    assert interval(0, [10, 10, 10, 10, 3600, 10, 10], 17).value == pytest.approx(3660 + 10 * (60 + 30) / 7, rel=0.01)


@pytest.mark.parametrize(("every", "ending"), [(2, "nd"), (3, "rd"), (5, "th"), (10, "th"), (25, "th")])
@pytest.mark.parametrize("first", ["first", "last"])
@pytest.mark.parametrize("warm_up", [1.0, 3.0])
def test_a_period_that_came_twice(every: int, ending: str, first: str, warm_up: float) -> None:
    """Every so many-th epoch validates: once it came twice it is known when it comes again."""
    at = 0 if first == "first" else every - 1
    chance = random.Random(every)  # noqa: S311  noise, no secret
    costs = [(20 if i % every == at else 10) * (1 + 0.01 * chance.gauss(0, 1)) for i in range(200)]
    costs[0] *= warm_up
    known = 3 * every + 2
    found, told = extrapolate(0, costs[:known], 200)
    assert f"with every {every}{ending} epoch apart" in told
    assert found.value == pytest.approx(math.fsum(costs), rel=0.02)


def test_the_phase_of_a_period_counts() -> None:
    """Two jobs have one more epoch to do; in one of them it is the costly one."""
    pattern = [10, 10, 10, 30] * 3
    assert interval(0, pattern, 13).value == pytest.approx(180 + 10, rel=0.01)
    assert interval(0, [*pattern, 10, 10, 10], 16).value == pytest.approx(210 + 30, rel=0.01)


def test_a_period_that_began_with_the_first_epoch() -> None:
    """The first epoch looks like warm-up until the eleventh costs the same: then both are validation."""
    found, told = extrapolate(0, [20, *[10] * 9, 20, 10, 10, 10, 10, 10, 10, 10, 10, 10], 100)
    assert told == "all epochs so far, with every 10th epoch apart"
    assert found.value == pytest.approx(1100, rel=0.001)


def test_a_long_job_is_what_it_is_now() -> None:
    """Of many epochs the last count, and a period keeps its step there."""
    assert interval(0, [10.0] * 300 + [20.0] * 300, 1200).value == pytest.approx(9000 + 600 * 20)
    costs = [10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 30.0] * 40
    for total in (231, 232, 280):  # the next one is costly, the one behind it is not
        assert interval(0, costs[:230], total).value == pytest.approx(math.fsum(costs[:total]))


def test_warm_up_alone_is_no_period() -> None:
    """One very costly epoch and an ordinary one are no period, however far the one lifts the mean of the two."""
    chance = random.Random(7)  # noqa: S311  noise, no secret
    for _ in range(50):
        costs = [40, *[10 * (1 + 0.02 * chance.gauss(0, 1)) for _ in range(27)]]
        assert rule(costs) == "without the first epoch"


@given(st.integers(0, 10_000))
def test_noise_is_no_period(seed: int) -> None:
    """Epochs that vary by 10 % at random have no period: a false one is rarer than one job in a hundred."""
    chance = random.Random(seed)  # noqa: S311  noise, no secret
    jobs = [[10 * math.exp(chance.gauss(0, 0.1)) for _ in range(40)] for _ in range(5)]
    assert sum("apart" in rule(job) for job in jobs) <= 1


def test_drift_is_followed() -> None:
    """A job that grows by 1 % of its first epoch each epoch, with little noise, is carried on, and one that shrinks."""
    chance = random.Random(3)  # noqa: S311  noise, no secret
    for slope in (0.01, -0.004):
        costs = [10 * (1 + slope * i) * (1 + 0.005 * chance.gauss(0, 1)) for i in range(100)]
        found, told = extrapolate(0, costs[:30], 100)
        assert told == "all epochs so far, with drift"
        assert found.value == pytest.approx(math.fsum(costs), rel=0.03)
        assert found.low < math.fsum(costs) < found.high


def test_a_fall_does_not_end_in_nothing() -> None:
    """A job whose epochs became cheaper by 2 % each is not said to be free soon."""
    costs = [10 * (1 - 0.02 * i) for i in range(25)]
    found = interval(0, costs, 500)
    assert found.value - math.fsum(costs) > 475 * 5.2 * 0.1


def test_one_costly_epoch_is_no_drift() -> None:
    """The last epoch waited for something: the level takes it in, the slope does not."""
    found, told = extrapolate(0, [10, 10.1, 9.9, 10, 10.1, 9.9, 10, 9.9, 10.1, 25], 200)
    assert told == "all epochs so far"
    assert found.value == pytest.approx(200 * 11.5, rel=0.03)


def test_a_slope_in_the_noise_is_not_followed() -> None:
    """A few noisy epochs that happen to rise are no drift."""
    found, told = extrapolate(0, [9.5, 10.4, 9.8, 10.6], 400)
    assert told == "all epochs so far"
    assert found.value == pytest.approx(4000, rel=0.1)


def test_neighbours_that_resemble_each_other_widen() -> None:
    """Ten slow epochs and ten quick ones say less about the next hundred than twenty in turn."""
    slow_then_quick = [12.0] * 5 + [10.0] * 5 + [12.0] * 5 + [10.0] * 5
    shuffled = random.Random(5).sample(slow_then_quick, 20)  # noqa: S311  order, no secret
    together, apart = interval(0, slow_then_quick, 120), interval(0, shuffled, 120)
    assert together.high - together.low > 1.3 * (apart.high - apart.low)


def test_neighbours_that_differ_do_not_narrow() -> None:
    """Epochs that go up and down in turn promise nothing about the next hundred."""
    in_turn = [10.0, 10.6] * 10
    shuffled = random.Random(5).sample(in_turn, 20)  # noqa: S311  order, no secret
    regular, irregular = interval(0, in_turn, 120), interval(0, shuffled, 120)
    assert regular.high - regular.low > 0.9 * (irregular.high - irregular.low)


def test_energy_unknown() -> None:
    """One epoch without energy: the duration is predicted, the energy is not known."""
    found = predict(Cost(1, 5), [Cost(10, 100), Cost(10, None)], 10)
    assert found.energy_joules is None
    assert found.duration_seconds.value == 101
    assert (found.after_epoch, found.epochs, found.rule) == (2, 10, "all epochs so far")
    known = predict(Cost(1, 5), [Cost(10, 100), Cost(10, 100)], 10)
    assert known.energy_joules is not None
    assert known.energy_joules.value == 1005


def test_no_epoch_yet() -> None:
    """Without a finished epoch there is nothing to predict from."""
    with pytest.raises(ValueError, match="one finished epoch"):
        predict(Cost(1, 5), [], 10)


@pytest.mark.parametrize(
    ("degrees", "expected"), [(1, 6.3138), (3, 2.3534), (7, 1.8946), (10, 1.8125), (30, 1.6973), (1000, 1.6464)]
)
def test_student_quantiles(degrees: int, expected: float) -> None:
    """The quantiles are those of the printed tables."""
    assert student_t_quantile(degrees) == pytest.approx(expected, abs=0.001)


def test_many_epochs_are_quick() -> None:
    """Twenty thousand epochs are predicted from well within the quarter of a second between two looks."""
    chance = random.Random(6)  # noqa: S311  noise, no secret
    done = [Cost(10 * (1 + 0.05 * chance.gauss(0, 1)), 100.0) for _ in range(20_000)]
    begun = time.process_time()
    predict(Cost(0, 0.0), done, 30_000)
    assert time.process_time() - begun < 0.25


def coverage(epochs: list[list[float]], known: int) -> float:
    """Give the share of jobs whose true total lies in the interval predicted after `known` epochs."""
    hits = 0
    for costs in epochs:
        found = interval(0, costs[:known], len(costs))
        hits += found.low <= math.fsum(costs) <= found.high
    return hits / len(epochs)


@pytest.mark.parametrize("known", [1, 2, 4, 6, 10])
def test_interval_covers_independent_noise(known: int) -> None:
    """Epochs that vary by 5 % at random lie in the 90 % interval."""
    chance = random.Random(1)  # noqa: S311  noise, no secret
    jobs = [[10 * (1 + 0.05 * chance.gauss(0, 1)) for _ in range(50)] for _ in range(300)]
    assert coverage(jobs, known) >= 0.9


def test_interval_covers_contention_and_drift() -> None:
    """Slow contention (AR(1), 0.9) and epochs that grow by half a per cent each widen the interval."""
    chance = random.Random(2)  # noqa: S311  noise, no secret
    contended, drifting = [], []
    for _ in range(300):
        state, slow = 0.0, []
        for _ in range(50):
            state = 0.9 * state + 0.05 * math.sqrt(1 - 0.81) * chance.gauss(0, 1)
            slow.append(10 * (1 + state))
        contended.append(slow)
        drifting.append([10 * (1 + 0.005 * i) * (1 + 0.01 * chance.gauss(0, 1)) for i in range(50)])
    assert coverage(contended, 10) >= 0.9
    for known in (5, 10, 15, 25):
        assert coverage(drifting, known) >= 0.9, known


def judge_by(corpus: Path) -> subprocess.CompletedProcess[str]:
    """Hold the estimator against a copy of the corpus."""
    command = [sys.executable, str(corpus / "score.py"), "--check"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_held_out_traces_are_predicted_as_promised() -> None:
    """By the frozen half of the corpus: no limit is broken."""
    judged = judge_by(CORPUS)
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")


def test_another_held_out_half_is_refused(tmp_path: Path) -> None:
    """One digit changed, and the half is not the one that was frozen."""
    corpus = tmp_path / "prediction"
    shutil.copytree(CORPUS, corpus, ignore=shutil.ignore_patterns("__pycache__"))
    held_out = corpus / "traces" / "held-out.jsonl"
    held_out.write_text(held_out.read_text().replace("1", "2", 1))
    assert "is not the half that HELD_OUT.sha256 froze" in judge_by(corpus).stderr


def test_the_corpus_is_what_the_page_says() -> None:
    """Its size, its classes, what is real of it, how it was dealt out; the simulated traces can be made again."""
    halves = {
        name: [json.loads(text) for text in (CORPUS / "traces" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("held-out", "tuning")
    }
    traces = halves["held-out"] + halves["tuning"]
    assert len({trace["name"] for trace in traces}) == len(traces) == 200
    assert min(collections.Counter(trace["kind"] for trace in traces).values()) >= 0.1 * len(traces)
    assert sum(trace["origin"] == "real" for trace in traces) == 70
    for kind in {trace["kind"] for trace in traces}:
        for origin in ("real", "simulated"):
            names = [trace["name"] for trace in traces if (trace["kind"], trace["origin"]) == (kind, origin)]
            names.sort(key=lambda name: hashlib.sha256(name.encode()).hexdigest())
            held_out = {trace["name"] for trace in halves["held-out"]}
            assert held_out.intersection(names) == set(names[::2])
    again = "from _trace import line; from simulate import traces; print(*map(line, traces()), sep='\\n')"
    made = subprocess.run([sys.executable, "-c", again], cwd=CORPUS, capture_output=True, text=True, check=True).stdout
    simulated = {trace["name"]: trace for trace in traces if trace["origin"] == "simulated"}
    assert {trace["name"]: trace for trace in map(json.loads, made.splitlines())} == simulated
