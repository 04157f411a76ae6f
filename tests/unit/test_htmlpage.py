"""The page as text: what is told is escaped, the policy holds what is there, and the figures are the record's."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from unit.data import logs, training

from greenrun.reports import account, formats, htmlpage, units
from greenrun.reports.page import markup, plots, sections

GOLDEN = Path(__file__).parent / "data" / "two-sockets"
PAGE = Path(htmlpage.__file__).parent / "page"
MARK = "<b>&\"'</script><!--\u202e\x00\ud800"


def golden_events() -> list[logs.Event]:
    """Give the events of the golden run."""
    return [json.loads(line) for line in (GOLDEN / "run.jsonl").read_text().splitlines()]


def page_of(*runs: list[logs.Event]) -> str:
    """Give the page of these runs."""
    return htmlpage.render_runs([formats.Told(account.account(events), events) for events in runs])


class Reader(HTMLParser):
    """Collects the elements, the text and the scripts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.held: dict[str, list[str]] = {"script": [], "style": []}
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """See that elements end in their order."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text, and a script's or a style's own."""
        if self._open and self._open[-1] in self.held:
            self.held[self._open[-1]].append(data)
        else:
            self.text += data

    def data(self) -> Any:
        """Give the JSON of the page."""
        return json.loads(self.held["script"][0])


def test_golden() -> None:
    """The body of the golden run's page, without the scripts and styles, which are files beside it."""
    page = page_of(golden_events())
    body = page[page.index("<body>") : page.index('<script type="text/plain">')].replace("><", ">\n<") + "\n"
    assert body == (GOLDEN / "html.golden.html").read_text()


def test_the_policy_names_just_what_is_there() -> None:
    """Each script and style by its hash, nothing inline, nothing from elsewhere."""
    reader = Reader(page_of(golden_events()))
    (policy,) = (attrs["content"] or "" for tag, attrs in reader.tags if attrs.get("http-equiv"))
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    assert allowed["default-src"] == allowed["base-uri"] == allowed["form-action"] == "'none'"
    assert allowed["img-src"] == "data:"
    for kind, texts in (("script", reader.held["script"][2:]), ("style", reader.held["style"])):
        hashes = [f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts]
        assert allowed[f"{kind}-src"].split() == hashes
        assert len(hashes) == 2
    assert {"rel": "icon", "href": "data:,"} in [attrs for tag, attrs in reader.tags if tag == "link"]  # else asked for
    for _, attrs in reader.tags:
        assert not {"src", "style", "srcset", "action"} & attrs.keys()
        assert not any(name.startswith("on") for name in attrs)
        assert (attrs.get("href") or "#").startswith(("#", "data:,"))


def test_what_is_told_stays_text() -> None:
    """In every field of the record that is text; neither markup nor what moves the text around it comes through."""
    events = golden_events()
    record = account.account(events)
    clean = Reader(htmlpage.render_runs([formats.Told(record, events)]))

    def marked(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: marked(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [marked(one, key) for one in value]
        fixed = (
            "started_at",
            "from",
            "to",
            "fetched_at",
            "status",
            "kind",
            "method",
            "pue_source",
            "id",
            "link",
            "basis",
        )
        return MARK + value if isinstance(value, str) and key not in fixed else value

    hostile: Any = marked(record)
    hostile |= {"metrics": {MARK: 1.0}, "tags": {MARK: MARK}, "warnings": [{"code": MARK, "message": MARK}]}
    hostile["phases"] = [{"name": MARK, "times": 1, "duration_seconds": 1.0, "energy_joules": None, "stretches": []}]
    page = htmlpage.render_runs([formats.Told(hostile, events)])
    page.encode()  # no half characters
    reader = Reader(page)
    assert {tag for tag, _ in reader.tags} == {tag for tag, _ in clean.tags} | {"ul", "li"}
    assert reader.text.count("<b>&") > 20
    assert not re.search("[\u202e\x00\ud800]", page)
    assert reader.data()[0]["devices"][0]["name"].startswith("<b>&")
    assert "<" not in reader.held["script"][0]


def test_the_figures_are_the_record_s() -> None:
    """Energy, CO2e with its range, time and intensity as units.py writes them, and each device's."""
    record = json.loads((GOLDEN / "summary.json").read_text())
    text = Reader(page_of(golden_events())).text
    for told in (
        units.energy(record["energy_joules"]["total"]),
        units.mass(record["co2e_grams"]),
        units.interval(units.mass(record["co2e_low_grams"]), units.mass(record["co2e_high_grams"])),
        units.duration(record["duration_seconds"]),
        f"±{units.percent(record['uncertainty_percent'])}",
        *(units.energy(device["energy_joules"], record["energy_joules"]["total"]) for device in record["devices"]),
    ):
        assert told in text


def test_unknown_is_said_and_never_0() -> None:
    """A run that was not measured, at a place nobody knows."""
    events = [logs.start(logs.device("a")), logs.spawned(0.0), logs.exited(5.0), logs.end(5.0)]
    reader = Reader(page_of(events))
    cards = reader.text[reader.text.index("Energy") : reader.text.index("Warnings")]
    assert cards.count("unknown") == 3
    assert reader.data()[0]["devices"] == []


def test_several_runs_share_a_page_and_its_size() -> None:
    """Each has its part and a row with a link; many runs have fewer points each, and the whole stays small."""
    runs = [training.events(7200.0, samples=2000, name=f"run {n}") for n in range(8)]
    page = page_of(*runs)
    reader = Reader(page)
    identifiers = [attrs["id"] for _, attrs in reader.tags if attrs.get("id")]
    assert len(identifiers) == len(set(identifiers))
    links = [attrs["href"] for tag, attrs in reader.tags if tag == "a"]
    assert links == ["#run-1", *(f"#run-{n}" for n in range(1, 9))]
    assert set(links) <= {f"#{identifier}" for identifier in identifiers}
    points = [len(line["watts"]) for run in reader.data() for line in run["lines"]]
    assert sum(points) <= plots.MOST_VALUES
    assert len(page) < 500_000


def test_devices_of_one_name_are_told_apart() -> None:
    """By a number, in the tables and the plots."""
    assert list(plots.labels(account.account(golden_events())).values()) == [
        "package-0",
        "package-1",
        "package-0 dram",
        "psys",
        "NVIDIA A100 #1",
        "NVIDIA A100 #2",
    ]


@pytest.mark.parametrize(("job", "told"), [(9720.0, "10 %"), ({"total": 9720.0, "cpu": 9720.0}, "10 %")])
def test_the_node_s_share(job: Any, told: str) -> None:
    """Where the job's energy is told apart from its node's, as a figure and as a plot."""
    events = golden_events()
    record: Any = account.account(events) | {"job_energy_joules": job}
    reader = Reader(htmlpage.render_runs([formats.Told(record, events)]))
    assert told in reader.text.replace(units.NO_BREAK, " ")
    assert reader.data()[0]["share"] == [9720, 87480]
    assert any(attrs.get("data-plot") == "share" for _, attrs in reader.tags)
    assert "share" not in page_of(events).partition("<main>")[2].partition("</main>")[0]


def test_many_epochs_are_marked_by_some() -> None:
    """20,000 of them: evenly chosen ones, and the page says how many."""
    record: Any = account.account(golden_events())
    one = {"duration_seconds": 1.0, "energy_joules": None, "marker": "marks"}
    record["epochs"] = [one | {"n": n, "from": float(n - 1)} for n in range(1, 20_001)]
    marked = plots.marks(record)
    assert len(marked) == plots.MOST_MARKS
    assert marked[0] == [40, 40]
    assert marked[-1] == [20_000, 20_000]


def test_a_script_that_would_end_itself_is_refused() -> None:
    """A newer uPlot may hold what a browser takes for the end of it."""
    with pytest.raises(ValueError, match="its own end"):
        markup.verbatim("script", "x = '</SCRIPT>'")
    with pytest.raises(ValueError, match="its own end"):
        markup.verbatim("script", "x = '<!-- <script>'")


def test_uplot_is_as_it_was_fetched() -> None:
    """By the hashes that its README tells."""
    told = dict(re.findall(r"^\| `(\S+)` \| `([0-9a-f]{64})` \|$", (PAGE / "README.md").read_text(), re.MULTILINE))
    assert set(told) == {"uPlot.iife.min.js", "uPlot.min.css", "uPlot-LICENSE.txt"}
    for name, digest in told.items():
        assert hashlib.sha256((PAGE / name).read_bytes()).hexdigest() == digest


def test_long_names_are_cut_where_there_is_no_room() -> None:
    """In the title and the table of runs, not in the run's own part."""
    name = "n" * 300
    page = page_of(training.events(60.0, samples=20, epochs=2, name=name))
    assert f"<title>{sections.short(name)}: energy and carbon</title>" in page
    assert name in Reader(page).text
