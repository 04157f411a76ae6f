"""The fastai library: `fit` with its progress bar and table (`bar`), as all of its applications have, or without."""

from __future__ import annotations

import sys

import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.metrics import mae
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

if sys.argv[1] == "bar":
    import fastai.callback.progress  # noqa: F401 - puts the bar into every learner

torch.manual_seed(0)
x = torch.randn(64, 8)
data = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8)
Learner(DataLoaders(data, data), nn.Linear(8, 1), loss_func=nn.MSELoss(), metrics=mae).fit(4)
