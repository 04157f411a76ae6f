"""Reports: from the events of a run log to a record, and from a record to text.

`account` is a pure function from events to a record (the document that summary.json holds); a format is a pure
function from a record to text, one module each, one line in the registry. This room may look at sampler and
intensity; it reads no clock and opens no hardware.
"""
