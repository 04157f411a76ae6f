"""Layers, their order, and what happens to a bad one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from machine.privilege import unprivileged

from greenrun.cli.config import Config, load
from greenrun.cli.errors import UserError


@dataclass
class Places:
    """A machine's files: a site's, a user's and a project's."""

    root: Path

    @property
    def site(self) -> Path:
        """The administrator's."""
        return self.root / "greenrun.toml"

    @property
    def user(self) -> Path:
        """The user's, for all projects."""
        return self.root / "home/.config/greenrun/config.toml"

    @property
    def project(self) -> Path:
        """The project's own."""
        return self.root / "work/greenrun.toml"

    @property
    def pyproject(self) -> Path:
        """The project's, shared with other tools."""
        return self.root / "work/pyproject.toml"

    def load(self, flags: dict[str, str | bool] | None = None, **environ: str) -> Config:
        """Load with this machine's files."""
        environ = {"HOME": str(self.root / "home"), **environ}
        return load(flags or {}, environ, str(self.root / "work"), site_file=str(self.site))


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Make the folders."""
    found = Places(tmp_path)
    found.user.parent.mkdir(parents=True)
    found.project.parent.mkdir()
    return found


def test_nothing_told_gives_the_defaults_and_no_warning(places: Places) -> None:
    """No file, no variable, no flag."""
    assert places.load() == Config()


def test_each_layer_wins_over_those_behind_it(places: Places) -> None:
    """Flags > environment > project > user > site."""
    places.site.write_text("pue = 1.1")
    assert places.load().pue == 1.1
    places.user.write_text("pue = 1.2")
    assert places.load().pue == 1.2
    places.pyproject.write_text("[tool.greenrun]\npue = 1.3")
    assert places.load().pue == 1.3
    assert places.load(GREENRUN_PUE="1.4").pue == 1.4
    assert places.load({"pue": "1.5"}, GREENRUN_PUE="1.4").pue == 1.5


def test_layers_add_up(places: Places) -> None:
    """A nearer layer hides only what it tells itself."""
    places.site.write_text('country = "Denmark"\npue = 1.1\nno-command = true')
    places.user.write_text("quiet = true\ninterval = 2")
    config = places.load({"epochs": "3"}, GREENRUN_QUIET="0", GREENRUN_NAME="job")
    assert (config.country, config.place_from, config.pue) == ("DK", str(places.site), 1.1)
    assert (config.quiet, config.interval, config.epochs, config.name) == (False, 2.0, 3, "job")
    assert config.record_command is False


def test_epochs_are_a_number_or_auto_wherever_they_are_told(places: Places) -> None:
    """Only a number is one to predict with; a TOML file writes the word in quotes."""
    places.project.write_text('epochs = "auto"\nepoch-pattern = "it (\\\\d+)"\nepoch-marks = "start"')
    config = places.load()
    assert (config.epochs, config.planned_epochs) == ("auto", None)
    assert (config.epoch_pattern, config.epoch_marks) == (r"it (\d+)", "start")
    config = places.load(GREENRUN_EPOCHS="12")
    assert (config.epochs, config.planned_epochs) == (12, 12)
    assert places.load({"epochs": "auto"}, GREENRUN_EPOCHS="12").planned_epochs is None


def test_a_project_s_own_file_comes_before_pyproject(places: Places) -> None:
    """Of the two only one is read."""
    places.project.write_text("pue = 1.2")
    places.pyproject.write_text("[tool.greenrun]\npue = 1.3\nnonsense = 1")
    assert places.load().pue == 1.2


def test_a_pyproject_of_somebody_else_s_is_not_even_parsed(places: Places) -> None:
    """Only one that speaks of greenrun is read, so that others cost nothing and break nothing."""
    places.pyproject.write_text("[this is no TOML")
    assert places.load() == Config()


def test_parents_of_the_working_directory_are_not_searched(places: Places) -> None:
    """Only the working directory itself is the project's."""
    (places.root / "pyproject.toml").write_text("[tool.greenrun]\npue = 1.3")
    assert load({}, {}, str(places.root / "work"), site_file="/nonexistent").pue is None


def test_xdg_config_home_moves_the_user_s_file(places: Places) -> None:
    """The XDG variable counts where it is absolute; without a home there is no user's file."""
    places.user.write_text("pue = 1.2")
    moved = places.root / "elsewhere/greenrun/config.toml"
    moved.parent.mkdir(parents=True)
    moved.write_text("pue = 1.7")
    assert places.load(XDG_CONFIG_HOME=str(places.root / "elsewhere")).pue == 1.7
    assert places.load(XDG_CONFIG_HOME="elsewhere").pue == 1.2
    assert load({}, {}, str(places.root / "work"), site_file=str(places.site)) == Config()


@pytest.mark.parametrize("key", ["log-dir", "log_dir"])
def test_keys_are_written_with_either_dash(places: Places, key: str) -> None:
    """A TOML key is the flag's name, with - or with _."""
    places.user.write_text(f'{key} = "runs"')
    assert places.load().log_dir == "runs"


def test_a_nearer_place_hides_a_farther_one_whole(places: Places) -> None:
    """A zone or an intensity of the site's does not stay when the user says where the machine stands."""
    places.site.write_text('country = "DK"\nzone = "DK-DK1"\nintensity = 50')
    config = places.load({"country": "FR"})
    assert (config.country, config.zone, config.place_from) == ("FR", None, "--country")
    assert (config.intensity, config.intensity_from) == (None, None)


def test_a_nearer_intensity_leaves_the_place(places: Places) -> None:
    """A figure replaces a figure and says where it came from."""
    places.site.write_text('zone = "DK-DK1"')
    config = places.load(GREENRUN_INTENSITY="42")
    assert (config.zone, config.intensity, config.intensity_from) == ("DK-DK1", 42.0, "GREENRUN_INTENSITY")


def test_a_zone_outside_its_country_is_a_mistake(places: Places) -> None:
    """In one place the two must agree."""
    with pytest.raises(UserError, match="DK-DK1 must lie in the country FR"):
        places.load({"country": "FR", "zone": "DK-DK1"})
    assert places.load({"country": "GB", "zone": "GB-NIR"}).zone == "GB-NIR"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("pue = 0.9", r"greenrun\.toml: pue must be a number of 1 or more .*, not '0\.9'"),
        ('pue = "1.2"', r"greenrun\.toml: pue must be a number, not '1\.2'"),
        ("pue = true", r"pue must be a number, not True"),
        ("pue = nan", r"pue must be a number of 1 or more"),
        ("epochs = 1.0", r'epochs must be a whole number or "auto", not 1\.0'),
        ('epochs = "10"', r'epochs must be a whole number or "auto", not '),
        ('epoch-pattern = "("', r"epoch-pattern must be a regular expression"),
        ("epoch-marks = true", r"epoch-marks must be text in quotes, not True"),
        ("quiet = 1", r"quiet must be true or false, not 1"),
        ("name = 7", r"name must be text in quotes, not 7"),
        ('country = "Atlantis"', r"country must be a country: .*, not 'Atlantis'"),
        ("intensity = -1", r"intensity must be a number of grams of CO2e per kWh of 0 or more, not '-1'"),
        ("puee = 1.2", r"greenrun\.toml: puee is no setting of greenrun's; the settings are log-dir, name, pue, "),
        ('log-dir = "a"\nlog_dir = "b"', r"log-dir must be told once"),
    ],
)
def test_a_mistake_in_a_file_names_file_key_and_what_is_allowed(places: Places, text: str, sentence: str) -> None:
    """One sentence, before the command starts."""
    places.project.write_text(text)
    with pytest.raises(UserError, match=sentence):
        places.load()


def test_a_mistake_in_a_variable_or_flag_names_it(places: Places) -> None:
    """The place is told as the user knows it."""
    with pytest.raises(UserError, match=r"^GREENRUN_PUE must be .* not '0'$"):
        places.load(GREENRUN_PUE="0")
    with pytest.raises(UserError, match=r"^--pue must be .* not '0'$"):
        places.load({"pue": "0"})
    with pytest.raises(UserError, match=r"^GREENRUN_QUIET must be one of 1, true, yes, 0, false, no, not 'si'$"):
        places.load(GREENRUN_QUIET="si")


def test_tool_greenrun_must_be_a_table(places: Places) -> None:
    """A value where the table should be is a mistake."""
    places.pyproject.write_text("[tool]\ngreenrun = 3")
    with pytest.raises(UserError, match=r"pyproject\.toml: tool\.greenrun must be a table, not 3"):
        places.load()


def test_an_unknown_variable_only_warns_and_names_the_nearest(places: Places) -> None:
    """It may belong to another version of greenrun."""
    config = places.load(GREENRUN_PEU="1.2", GREENRUN_XYZZY="1")
    assert config.warnings == (
        "GREENRUN_PEU is no variable of greenrun's, GREENRUN_PUE is the nearest",
        "GREENRUN_XYZZY is no variable of greenrun's",
    )


def test_greenrun_s_own_variables_and_empty_ones_are_quiet(places: Places) -> None:
    """A greenrun inside a job of greenrun's finds them all."""
    own = {"GREENRUN_MARKS": "/m", "GREENRUN_RUN_ID": "1", "GREENRUN_RUN_DIR": "/d"}
    assert places.load(**own, GREENRUN_ELECTRICITYMAPS_TOKEN="t", GREENRUN_PUE="") == Config()


def test_the_hardware_s_roots_come_from_the_environment_but_not_from_a_project(places: Places) -> None:
    """A repository that was cloned must not decide what is measured."""
    assert places.load(GREENRUN_SYSFS_ROOT="/s", GREENRUN_PROCFS_ROOT="/p").sysfs_root == "/s"
    places.project.write_text('sysfs-root = "/s"\nprocfs_root = "/p"\npue = 1.2')
    config = places.load()
    assert (config.sysfs_root, config.procfs_root, config.pue) == ("/sys", "/proc", 1.2)
    assert len(config.warnings) == 2
    assert "sysfs-root is ignored, because a project's file may not set it" in config.warnings[0]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a = 1\npue = = 2", r"is no TOML file and is ignored: .*line 2"),
        (b"pue = 1.2\n\xff", r"is no TOML file and is ignored: 'utf-8' codec"),
        (b"x = " + b"[" * 100_000, r"is no TOML file and is ignored"),
        (b"#" * (1 << 20) + b"\npue = 1.2", r"is no TOML file and is ignored: it is larger than"),
    ],
)
def test_a_file_that_is_no_toml_is_a_warning(places: Places, data: bytes, reason: str) -> None:
    """A broken file costs nobody a job, and the layers behind it still count."""
    places.site.write_text("pue = 1.1")
    places.user.write_bytes(data)
    config = places.load()
    assert config.pue == 1.1
    [warning] = config.warnings
    assert re.search(reason, warning)
    assert warning.startswith(str(places.user))


def test_a_directory_or_a_fifo_in_the_place_of_a_file_holds_up_nothing(places: Places) -> None:
    """Neither may block or fail the run."""
    places.project.mkdir()
    os.mkfifo(places.user)
    [warning] = places.load().warnings
    assert warning == f"{places.project} cannot be read and is ignored: Is a directory"


def test_a_file_that_may_not_be_read_is_a_warning(places: Places) -> None:
    """As a user whom permissions bind."""
    places.user.write_text("pue = 1.2")
    places.user.chmod(0)
    code = (
        "import sys; from greenrun.cli.config import load;"
        "print(*load({}, {'HOME': sys.argv[1]}, sys.argv[1], site_file='/nonexistent').warnings)"
    )
    command = unprivileged([sys.executable, "-c", code, str(places.root / "home")])
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout == f"{places.user} cannot be read and is ignored: Permission denied\n"


def test_no_parser_is_imported_where_there_is_no_file(tmp_path: Path) -> None:
    """Start-up: neither a TOML parser nor click nor the table of countries."""
    code = (
        "import sys; from greenrun.cli.config import load; load({}, {}, '', site_file='/nonexistent');"
        "print({'tomllib', 'tomli', 'click', 'json', 'difflib', 'greenrun.intensity.table'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert told.stdout == "set()\n"


def test_a_cluster_s_table_holds_on_that_cluster_alone(places: Places) -> None:
    """One home on two clusters: the table that SLURM's name for the cluster picks lies over the rest of its file."""
    places.user.write_text(
        'country = "DE"\npue = 1.5\n[clusters.alpha]\ncountry = "NO"\nzone = "NO-NO2"\n[clusters.beta]\npue = 1.1\n'
    )
    assert places.load().country == "DE"
    alpha, beta = places.load(SLURM_CLUSTER_NAME="alpha"), places.load(SLURM_CLUSTER_NAME="beta")
    assert (alpha.country, alpha.zone, alpha.pue) == ("NO", "NO-NO2", 1.5)
    assert alpha.place_from == f"{places.user}, clusters.alpha"
    assert (beta.country, beta.zone, beta.pue) == ("DE", None, 1.1)
    assert places.load(SLURM_CLUSTER_NAME="gamma") == places.load()


def test_a_user_s_file_lies_over_the_site_s_table_for_a_cluster(places: Places) -> None:
    """The cluster's table belongs to its file, and a user is nearer than a site."""
    places.site.write_text('[clusters.alpha]\ncountry = "NO"\npue = 1.2\n')
    places.user.write_text('country = "DE"\n')
    found = places.load(SLURM_CLUSTER_NAME="alpha")
    assert (found.country, found.pue) == ("DE", 1.2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("clusters = 3\n", "clusters must hold a table for each cluster"),
        ("[clusters]\nalpha = 'DK'\n", "clusters must hold a table for each cluster"),
        ("[clusters.alpha]\ncountry = 'Atlantis'\n", "clusters.alpha: country must be a country"),
        ("[clusters.alpha]\ncuontry = 'DK'\n", "clusters.alpha: cuontry is no setting"),
        ("start = 'greenest'\n", "start is no setting"),
    ],
)
def test_a_mistake_in_a_cluster_s_table_names_it(places: Places, text: str, sentence: str) -> None:
    """File, cluster and key are in the sentence."""
    places.site.write_text(text)
    with pytest.raises(UserError, match=re.escape(sentence)) as caught:
        places.load(SLURM_CLUSTER_NAME="alpha")
    assert str(places.site) in str(caught.value)


def test_a_project_has_no_clusters_and_names_no_service(places: Places) -> None:
    """Whoever wrote a repository must not choose where a user's token goes."""
    places.project.write_text(
        'electricitymaps-url = "https://evil.example"\nelectricitymaps-token-file = "/etc/passwd"\n'
        'neso-url = "https://evil.example"\nenergidata-url = "https://evil.example"\n'
        'energycharts-url = "https://evil.example"\ncloud-metadata-url = "https://evil.example"\n'
    )
    found = places.load()
    assert len(found.warnings) == 6
    assert all("a project's file may not set it" in warning for warning in found.warnings)
    assert "evil" not in str(found._replace(warnings=()))
    places.project.write_text('[clusters.alpha]\ncountry = "DK"\n')
    with pytest.raises(UserError, match="clusters is no setting"):
        places.load(SLURM_CLUSTER_NAME="alpha")


def test_a_project_lifts_no_rule_of_the_user_s_or_the_site_s(places: Places) -> None:
    """Where they want no network and no command line in the record, a repository that nobody has read is no reason."""
    places.site.write_text("offline = true\nno-command = true\n")
    places.user.write_text("no-cloud-metadata = true\n")
    places.project.write_text("offline = false\nno-command = false\nno-cloud-metadata = false\nquiet = true\n")
    found = places.load()
    assert (found.offline, found.record_command, found.cloud_metadata, found.quiet) == (True, False, False, True)
    assert len(found.warnings) == 3
    assert f"{places.project}: offline is ignored, because a project's file may not switch it off" in found.warnings
    assert places.load(GREENRUN_OFFLINE="no").offline is False


def test_a_user_lifts_a_rule_of_the_site_s_and_a_project_makes_one(places: Places) -> None:
    """They are asked in their order; what nobody has switched on may be off in a project, too."""
    places.site.write_text("quiet = true\n")
    places.user.write_text("quiet = false\n")
    places.project.write_text("quiet = false\noffline = true\nno-command = false\n")
    found = places.load()
    assert (found.quiet, found.offline, found.record_command, found.warnings) == (False, True, True, ())


def test_a_table_without_a_name_is_no_cluster_s(places: Places) -> None:
    """Outside of SLURM no cluster's table holds."""
    places.site.write_text('[clusters.""]\npue = 1.7\n')
    assert places.load().pue is None


@pytest.mark.parametrize("url", ["https://ada:hunter2@api.example", "https://hunter2@api.example", "x?token=hunter2"])
def test_a_password_in_an_address_is_refused_and_not_repeated(places: Places, url: str) -> None:
    """The sentence may end in the log of a CI job."""
    with pytest.raises(UserError, match="without a user or a query") as caught:
        places.load(GREENRUN_NESO_URL=url)
    assert "hunter2" not in str(caught.value)
    places.user.write_text(f'electricitymaps-url = "{url}"\n')
    with pytest.raises(UserError, match="without a user or a query") as caught:
        places.load()
    assert "hunter2" not in str(caught.value)


def test_what_is_for_one_command_is_no_variable(places: Places) -> None:
    """A greenrun inside a job that waited for its hour must not wait again."""
    found = places.load(GREENRUN_START="greenest", GREENRUN_DEADLINE="12h")
    assert (found.start, found.deadline) == (None, None)
    assert len(found.warnings) == 2
    flags: dict[str, str | bool] = {"start": "greenest", "deadline": "12h", "duration": "90m"}
    told = places.load(flags)
    assert (told.start, told.deadline, told.duration) == ("greenest", 43200.0, 5400.0)


def test_services_have_addresses_that_only_users_and_sites_tell(places: Places) -> None:
    """From the variables of the issue, without a slash at the end."""
    found = places.load(
        GREENRUN_ELECTRICITYMAPS_URL="http://127.0.0.1:8080/",
        GREENRUN_NESO_URL="https://neso.example/api",
        GREENRUN_BASIS="Direct",
        GREENRUN_NO_CLOUD_METADATA="1",
    )
    assert found.electricitymaps_url == "http://127.0.0.1:8080"
    assert found.neso_url == "https://neso.example/api"
    assert (found.basis, found.cloud_metadata, found.warnings) == ("direct", False, ())
    for wrong in ("ftp://x", "api.example.org", "https://", "https://me:secret@x", "https://x?token=y", "https://x y"):
        with pytest.raises(UserError, match="must be an address"):
            places.load(GREENRUN_NESO_URL=wrong)
    with pytest.raises(UserError, match="must be lifecycle"):
        places.load(GREENRUN_BASIS="marginal")
