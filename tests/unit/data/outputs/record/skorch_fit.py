"""The skorch library: `fit` with the table that it prints."""

from __future__ import annotations

import numpy
import torch
from skorch import NeuralNetRegressor

torch.manual_seed(0)
x = numpy.random.default_rng(0).normal(size=(80, 8)).astype("float32")
NeuralNetRegressor(torch.nn.Linear(8, 1), max_epochs=5, lr=0.05).fit(x, x.sum(axis=1, keepdims=True))
