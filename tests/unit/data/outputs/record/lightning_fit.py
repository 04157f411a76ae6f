"""Lightning: `fit` with validation; the argument chooses the progress bar, tqdm or rich."""

from __future__ import annotations

import sys

import lightning
import torch
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from torch.utils.data import DataLoader, TensorDataset


class Model(lightning.LightningModule):
    """A line through points."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 1)

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        """Give the loss of a batch."""
        loss = torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        """Tell the loss of a batch."""
        self.log("val_loss", torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1]), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Choose how to learn."""
        return torch.optim.SGD(self.parameters(), lr=0.01)


torch.manual_seed(0)
x = torch.randn(64, 8)
data = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=16)
bar = RichProgressBar() if sys.argv[1] == "rich" else TQDMProgressBar()
trainer = lightning.Trainer(max_epochs=3, callbacks=[bar], logger=False, accelerator="cpu", log_every_n_steps=1)
trainer.fit(Model(), data, data)
