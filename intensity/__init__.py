"""Carbon intensity: grams of CO2e a kilowatt-hour stands for, at a place and time, and where the figure came from.

`chain` is the way in: told, services behind the `cache`, tables. A service is one module behind `model.Service`; tables
are in data/. Only what `chain` is handed is asked, so which services there are and what they are allowed to know (the
token, whether there is a network) is decided in the command line. This room never meets the sampler: it imports none
of the other rooms.
"""
