"""Greenrun beside the tools that people use for the same: one command runs all on one machine and writes the tables.

    make peers          all of it, some ten minutes
    make peers QUICK=1  fewer rounds and shorter jobs, four minutes

The peers' environments are made once, in `${XDG_CACHE_HOME:-~/.cache}/greenrun-peers` (remove it for newer versions);
everything else is made anew and goes away. It needs root or user namespaces, for `stage` shows the simulated machine at
the places where the real one would be.
"""
