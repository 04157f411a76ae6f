"""Carbon intensity: grams of CO2e a kilowatt-hour stands for, at a place and time, and where the figure came from.

A provider is one module behind the interface in `model`. This room never meets the sampler: it imports none of the
other rooms.
"""
