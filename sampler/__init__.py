"""The sampler: from hardware to the run log.

sources -> meter -> run log. A source reads one kind of hardware and yields readings; the meter turns any reading into
cumulative joules since the start; the run log is append-only JSON Lines with one writer. This room knows nothing of
carbon intensity, of reports or of the command line: it imports none of the other rooms.
"""
