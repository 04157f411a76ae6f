"""The whole way from hardware to summary on simulated machines whose truth is known, the meters' troubles included.

Each run goes through the command line, and each record is held to the schema and to what `greenrun report` tells
again. The commands live for odd lengths of time, so that no rhythm of the sampler fits them by luck.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from machine.command import ENTRY, Greenrun
from machine.gpus import Driver, Gpu
from machine.layouts import two_sockets_two_gpus
from machine.powercap import DRAM_SPAN_MICROJOULES, Zone
from machine.privilege import unprivileged
from machine.procfs import EPYC_7763
from machine.profiles import constant, square
from machine.simulated import SimulatedMachine
from machine.stamp import Stamp

from greenrun import reports

# What the command's first and last moment are off by, as the sampler sees them, on a machine that is busy with tests.
LIFE_SECONDS = 0.015
SCHEMA = json.loads((Path(reports.__file__).parent / "summary.schema.json").read_text())
PACKAGE = Zone("package-0", square(83.0, 211.0, 0.7, 0.3), (Zone("dram", constant(11.0), span_microjoules=DRAM_SPAN_MICROJOULES),))
