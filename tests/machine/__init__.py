"""The simulated machine: meters that can be read through the doors that real hardware has, and whose truth is known.

A powercap tree, an NVML library and a procfs follow power profiles with exact integrals, so that an end-to-end test
can say by how many per cent an answer is off. Nothing here imports greenrun or pytest: the benchmarks use it too.
"""
