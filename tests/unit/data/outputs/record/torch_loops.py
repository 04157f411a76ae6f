"""Loops over epochs as people write them for PyTorch: one spelling a run, chosen by the argument."""
# ruff: noqa: T201

from __future__ import annotations

import logging
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm, trange

EPOCHS = 5
spelling = sys.argv[1]
torch.manual_seed(0)
x = torch.randn(96, 8)
data = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8)
model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
steps = len(data)


def step(inputs: torch.Tensor, wanted: torch.Tensor) -> float:
    """Train on one batch and give its loss."""
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(inputs), wanted)
    loss.backward()
    optimizer.step()
    return loss.item()


def train() -> float:
    """Train on all batches, silently."""
    return sum(step(*batch) for batch in data) / steps


if spelling == "steps":
    for epoch in range(EPOCHS):
        for i, batch in enumerate(data):
            loss = step(*batch)
            if (i + 1) % 4 == 0:
                print(f"Epoch [{epoch + 1}/{EPOCHS}], Step [{i + 1}/{steps}], Loss: {loss:.4f}")
elif spelling == "mnist":
    for epoch in range(1, EPOCHS + 1):
        for i, batch in enumerate(data):
            loss = step(*batch)
            if i % 5 == 0:
                seen, all_of_them = i * 8, len(x)
                print(f"Train Epoch: {epoch} [{seen}/{all_of_them} ({100.0 * i / steps:.0f}%)]\tLoss: {loss:.6f}")
        print(f"\nTest set: Average loss: {loss:.4f}, Accuracy: {88 + epoch}/{len(x)} ({90 + epoch}%)\n")
elif spelling == "transfer":
    for epoch in range(EPOCHS):
        print(f"Epoch {epoch}/{EPOCHS - 1}")
        print("-" * 10)
        for phase in ("train", "val"):
            print(f"{phase} Loss: {train():.4f} Acc: {0.5 + epoch / 20:.4f}")
        print()
elif spelling == "bare":
    for epoch in range(EPOCHS):
        print("epoch:", epoch)
        print("loss", train())
elif spelling == "comma":
    for epoch in range(1, EPOCHS + 1):
        print(f"Epoch {epoch}, loss={train():.4f}", flush=True)
elif spelling == "logging":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s - %(name)s - %(levelname)s - %(message)s")
    for epoch in range(EPOCHS):
        logging.info("Epoch %d/%d - train_loss: %.4f", epoch + 1, EPOCHS, train())
        logging.info("checkpoint of epoch %d saved", epoch + 1)
elif spelling == "bars":
    for epoch in range(EPOCHS):
        with tqdm(data, desc=f"Epoch {epoch + 1}/{EPOCHS}", mininterval=0) as bar:
            for batch in bar:
                bar.set_postfix(loss=step(*batch))
elif spelling == "tqdm":
    bar = trange(EPOCHS, desc="Epochs", mininterval=0)
    for _ in bar:
        bar.set_postfix(loss=train())
elif spelling == "unit":
    for _ in tqdm(range(EPOCHS), unit="epoch", mininterval=0):
        train()
elif spelling == "nested":
    for _ in trange(EPOCHS, desc="Training epochs", mininterval=0):
        for batch in tqdm(data, desc="batches", leave=False, mininterval=0):
            step(*batch)
        tqdm.write(f"validation loss {train():.4f}")
elif spelling == "tail":
    for epoch in range(EPOCHS):
        for batch in tqdm(data, mininterval=0, leave=True):
            loss = step(*batch)
        print(f"Epoch {epoch + 1}: train loss {loss:.4f}", flush=True)
elif spelling == "batches":
    for _ in range(EPOCHS):
        for batch in tqdm(data, mininterval=0):
            step(*batch)
elif spelling == "trange":
    for _ in trange(EPOCHS, mininterval=0):
        train()
else:
    raise SystemExit(f"no spelling {spelling}")
