"""greenrun: run any job and tell what it cost in energy and carbon."""

__version__ = "0.1.0"
