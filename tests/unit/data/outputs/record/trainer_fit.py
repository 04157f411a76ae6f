"""Hugging Face: `Trainer` on a small model made from its configuration; the argument is how often it logs."""

from __future__ import annotations

import sys

import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
from transformers.utils import logging

how = sys.argv[1]
logging.set_verbosity_info()
torch.manual_seed(0)
model = BertForSequenceClassification(
    BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
)


class Points(Dataset):
    """Sixty sentences of numbers."""

    def __len__(self) -> int:
        return 60

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        return {"input_ids": torch.tensor([i % 50, 3, 7]), "labels": torch.tensor(i % 2)}


arguments = TrainingArguments(
    "out",
    num_train_epochs=3,
    per_device_train_batch_size=6,
    logging_strategy="epoch" if how == "epoch" else "steps",
    logging_steps=4,
    eval_strategy="epoch",
    save_strategy="no",
    report_to=[],
    use_cpu=True,
)
Trainer(model, arguments, train_dataset=Points(), eval_dataset=Points()).train()
