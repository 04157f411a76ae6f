"""What training programs print: recorded output, documented lines, and what only looks like them."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import _other_logs
import pytest

from greenrun.sampler.epochs import Mark, Scanner, pattern
from greenrun.sampler.formats import bars

OUTPUTS = Path(__file__).parent / "data" / "outputs"
CUTTINGS = 200


def opened(numbers: int, of: int | None, *, last_closes: bool = False) -> list[Mark]:
    """Give the marks of epochs that are told at their beginnings."""
    marks = [Mark(n, of, "start") for n in range(1, numbers + 1)]
    return [*marks, Mark(numbers, of, "end")] if last_closes else marks


def closed(numbers: int, of: int | None, *, begun: bool = False, begun_of: int | None = None) -> list[Mark]:
    """Give the marks of epochs that are told at their ends, the beginning of the first one too where it is."""
    marks = [Mark(n, of, "end") for n in range(1, numbers + 1)]
    return [Mark(1, begun_of, "start"), *marks] if begun else marks


BOTH = {  # recorded through a pipe and on a terminal, to the same marks
    "catboost": closed(8, None),
    "fastai": closed(4, 4, begun=True),
    "fastai-plain": closed(4, None),
    "keras-bar": opened(4, 4),
    "keras-lines": opened(4, 4),
    "lightgbm": closed(8, None),
    "lightning-tqdm": opened(3, None),
    "sklearn-mlp": closed(8, None),
    "sklearn-sgd": opened(8, None),
    "skorch": closed(5, None),
    "torch-bare": opened(5, None),
    "torch-bars": opened(5, 5, last_closes=True),
    "torch-batches": [],
    "torch-comma": closed(5, None),
    "torch-logging": closed(5, 5),
    "torch-mnist": opened(5, None),
    "torch-nested": closed(5, 5, begun=True, begun_of=5),
    "torch-steps": closed(5, 5),
    "torch-tail": closed(5, None),
    "torch-tqdm": closed(5, 5, begun=True, begun_of=5),
    "torch-trange": [],
    "torch-transfer": [*opened(4, 4), Mark(5, 5, "start")],
    "torch-unit": closed(5, 5, begun=True, begun_of=5),
    "trainer-epoch": closed(3, 3),
    "trainer-steps": closed(3, 3),
    "ultralytics": opened(3, 3, last_closes=True),
    "xgboost": closed(8, None),
}
RECORDED = {f"{name}-{kind}": marks for name, marks in BOTH.items() for kind in ("pipe", "terminal")} | {
    "lightning-rich-pipe": [],  # it prints one line, when all is over
    "lightning-rich-terminal": opened(3, 3, last_closes=True),
}


def test_every_recording_is_judged() -> None:
    """The recordings are the ones that are told here."""
    assert {path.stem for path in OUTPUTS.glob("*.out")} == set(RECORDED)


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_recorded_output(name: str) -> None:
    """Every epoch is found, with its number, total and mark, however the output is cut; nothing else is."""
    data = (OUTPUTS / f"{name}.out").read_bytes()
    dice = random.Random(name)  # noqa: S311 - no secret
    assert scanned([data]) == RECORDED[name]
    for cutting in range(CUTTINGS):
        cuts = sorted(dice.randrange(len(data) + 1) for _ in range(1 << cutting % 9))
        edges = [0, *cuts, len(data)]
        pieces = [data[start:end] for start, end in pairwise(edges)]
        assert scanned(pieces) == RECORDED[name], cuts


def scanned(pieces: list[bytes], epochs: int | None = None) -> list[Mark]:
    """Give the marks in a stream that comes in pieces."""
    scanner = Scanner(epochs=epochs)
    return [mark for piece in pieces for mark in scanner.feed(piece)] + scanner.finish()


def test_bars_are_seen_when_they_are_drawn() -> None:
    """A bar over epochs is understood at once, and not at its next drawing, which may come an epoch later."""
    scanner = Scanner()
    assert scanner.feed(b"\rEpochs:   0%|     | 0/5 [00:00<?, ?it/s]") == [Mark(1, 5, "start")]
    assert scanner.feed(b"\rEpochs:  20%|#    | 1/5 [00:01<00:04,  1.00s/it] ") == [Mark(1, 5, "end")]
    assert scanner.feed(b"\rEpochs:  40%|##   | 2/5 [00:02<00:0") == []
    assert scanner.feed(b"3,  1.00s/it]") == [Mark(2, 5, "end")]
    # What follows at once is another line; but the bar is what tells this job's epochs.
    assert scanner.feed(b"Epoch 3, loss=0.5\n") == []
    assert scanner.feed(b"\rEpochs:  60%|###  | 3/5 [00:03<00:02,  1.00s/it]") == [Mark(3, 5, "end")]


@pytest.mark.parametrize("name", ["torch-trange-pipe", "torch-trange-terminal"])
def test_nameless_bar_of_the_told_length(name: str) -> None:
    """A bar without a name counts epochs where it goes to the number of them that the user told."""
    data = (OUTPUTS / f"{name}.out").read_bytes()
    assert scanned([data], epochs=5) == closed(5, 5, begun=True, begun_of=5)
    assert scanned([data], epochs=6) == []
    assert scanned([(OUTPUTS / "torch-batches-pipe.out").read_bytes()], epochs=5) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Epoch 3/10", [Mark(3, 10, "start")]),
        ("Epoch [3/10]", [Mark(3, 10, "start")]),
        ("Epoch 3 / 10", [Mark(3, 10, "start")]),
        ("epoch: 1", [Mark(1, None, "start")]),
        ("epoch=1", [Mark(1, None, "start")]),
        ("===== EPOCH 3 of 10 =====", [Mark(3, 10, "start")]),
        ("-- Epoch 1", [Mark(1, None, "start")]),
        ("Epoch #3", [Mark(3, None, "start")]),
        ("Epoch 3, loss=0.5", [Mark(3, None, "end")]),
        ("Epoch 3, loss=nan", [Mark(3, None, "end")]),
        ("Epoch 3 - mIoU: 0.51", [Mark(3, None, "end")]),
        ("Epoch 3/10 - 2s - accuracy: 0.9", [Mark(3, 10, "end")]),
        ("Epoch 003 | train 0.5 | val 0.6", [Mark(3, None, "end")]),
        ("[Epoch 3] train loss 0.5", [Mark(3, None, "end")]),
        ("\U0001f680 Epoch 3/10", [Mark(3, 10, "start")]),
        ("\x1b[1;32mEpoch 3/10\x1b[0m", [Mark(3, 10, "start")]),
        ("Starting epoch 1", [Mark(1, None, "start")]),
        ("Training epoch 3/10", [Mark(3, 10, "start")]),
        ("Epoch 1 started", [Mark(1, None, "start")]),
        ("Epoch 1 finished in 12 s", [Mark(1, None, "end")]),
        ("End of epoch 3, loss 0.5", [Mark(3, None, "end")]),
        ("Epoch 3/10, lr: 0.001", [Mark(3, 10, "start")]),
        ("Epoch 3:  45%|####      | 45/100 [00:01<00:01]", [Mark(3, None, "start")]),
        ("Epoch [3/10], Step [100/600], Loss: 0.5", []),  # step 600 comes
        ("Epoch [3/10], Step [600/600], Loss: 0.5", [Mark(3, 10, "end")]),
        ("Epoch [3/10], Step [100/469], Loss: 0.5", [Mark(3, 10, "start")]),  # step 469 does not
        ("Epoch 1 Batch 0 Loss 4.5", [Mark(1, None, "start")]),
        ("Epoch: [0]  [   0/1000]  eta: 0:10:00  lr: 0.01  loss: 6.9", [Mark(1, None, "start")]),  # torchvision
        ("Epoch: [0] Total time: 0:05:12 (0.31 s / it)", [Mark(1, None, "end")]),
        ("2023-01-01 12:00:00,123 - mmdet - INFO - Epoch [1][50/7330]\tlr: 1.000e-02", [Mark(1, None, "start")]),
        ("01/01 12:00:00 - mmengine - INFO - Epoch(train)  [1][50/7330]  lr: 1e-02", [Mark(1, None, "start")]),
        ("01/01 12:00:00 - mmengine - INFO - Epoch(val)  [1][50/733]  loss: 1e-02", []),
        ("2023-05-01 12:00:00.123 | INFO     | __main__:train:42 - Epoch 3/10", [Mark(3, 10, "start")]),
        ("INFO:root:Epoch 3/10 loss 0.5", [Mark(3, 10, "end")]),
        ("[12:00:00] Epoch 3/10", [Mark(3, 10, "start")]),
        ("I0101 12:00:00.000000 4242 train.py:42] Epoch 3, loss 0.5", [Mark(3, None, "end")]),
        ("[rank0]: Epoch 3/10", [Mark(3, 10, "start")]),
        ("0: Epoch 3/10", [Mark(3, 10, "start")]),
        ("(RayTrainWorker pid=4242) Epoch 3/10", [Mark(3, 10, "start")]),
        ("[1,0]<stdout>:Epoch 3/10", [Mark(3, 10, "start")]),
        ("2023-01-01 12:00:00 INFO epoch 1", []),
        ("Val epoch 1 loss 0.9\nEpoch 1/9", opened(1, 9)),
        ("epoch 17", []),
        ("epoch 17\nepoch 18\nepoch 30", [Mark(18, None, "start"), Mark(30, None, "start")]),
        ("Epoch 11/10", []),
        ("Epochs 3/10", [Mark(3, 10, "start")]),
        ("{'loss': 0.5, 'learning_rate': 1e-05, 'epoch': 0.67}", []),
        ("{'loss': 0.5, 'learning_rate': 1e-05, 'epoch': 1.33}", [Mark(1, None, "end")]),  # an older Trainer's
        ("{'eval_loss': 0.5, 'eval_runtime': 1.2, 'epoch': 2.0}", [Mark(2, None, "end")]),
        ("{'loss': '0.5', 'epoch': '0'}\n{'loss': '0.5', 'epoch': '1'}", [Mark(1, None, "end")]),
        ("  Num Epochs = 1,000\n{'loss': '0.5', 'epoch': '2'}", [Mark(2, 1000, "end")]),
        ('{"epoch": 0, "train_loss": 0.5}\n{"epoch": 1, "train_loss": 0.4}', closed(2, None)),
        ('{"epoch": 0, "step": 10, "loss": 0.5}\n{"epoch": 0, "step": 20, "loss": 0.4}', [Mark(1, None, "start")]),
        ("[3]\ttrain-rmse:0.5\teval-rmse:0.6", [Mark(4, None, "end")]),
        ("[3]\ttrain-rmse:0.5+0.01\ttest-rmse:0.6+0.02", [Mark(4, None, "end")]),
        ("[3]\tvalid_0's l2: 0.5", [Mark(3, None, "end")]),
        ("[3]\tcv_agg's l2: 0.5 + 0.01", [Mark(3, None, "end")]),
        ("Iteration 3, loss = 0.5", [Mark(3, None, "end")]),
        ("3epoch [00:03,  1.00s/epoch, loss=0.5]", [Mark(3, None, "end")]),
        ("3epoch [00:03,  1.00epoch/s]", [Mark(3, None, "end")]),
        ("  0%|          | 0/10 [00:00<?, ?epoch/s]", [Mark(1, 10, "start")]),
        (" 30%|###       | 3/10 [00:03<00:07,  1.00s/epoch, loss=0.5]", [Mark(3, 10, "end")]),
        ("100%|##########| 9/9 [00:03<00:00, 1.0it/s]Epoch 1, loss 0.5", [Mark(1, None, "end")]),
        # YOLOv5 by its documentation
        (
            "     Epoch   gpu_mem       box       obj       cls    labels  img_size\n       0/99     2.1G   0.1",
            opened(1, 100),
        ),
        ("epoch | loss | acc\n1 | 0.5 | 0.7\n2 | 0.4 | 0.8", closed(2, None)),
        ("epoch,loss,acc\n0,0.5,0.7\n1,0.4,0.8", closed(2, None)),
        ("1  0.5  0.7", []),
        ("epoch  loss  acc\n1  0.5  0.7  9  9  9", []),
        ("      1/3      0G     0.5", []),
    ],
)
def test_lines(text: str, expected: list[Mark]) -> None:
    """Each spelling is understood for what it is."""
    assert scanned([text.encode() + b"\n"]) == expected


@pytest.mark.parametrize("line", _other_logs.NEAR_MISSES)
def test_near_misses(line: str) -> None:
    """What only looks like a mark is none."""
    assert scanned([line.encode() + b"\n"]) == []


def test_no_mark_in_other_logs() -> None:
    """Ten megabytes of output without epochs have none; benchmarks/scanning.py has a hundred."""
    scanner = Scanner()
    for piece in _other_logs.pieces(10_000_000):
        assert scanner.feed(piece) == [], piece[:200]
    assert scanner.finish() == []


def test_the_numbers_of_other_logs_do_not_matter() -> None:
    """Epochs are found between other output, and it takes none of their numbers."""
    scanner = Scanner()
    found = []
    for n, piece in enumerate(_other_logs.pieces(2_000_000), 1):
        found += scanner.feed(piece + b"Epoch %d, loss=0.5\n" % n)
    assert len(found) > 50
    assert found == closed(len(found), None)


def test_epochs_go_before_rounds() -> None:
    """Where a job prints both, it is the epochs that count, and their numbers are not taken for rounds."""
    text = b"[0]\ttrain-rmse:0.5\nEpoch 2/9\n[1]\ttrain-rmse:0.4\n[2]\ttrain-rmse:0.3\nEpoch 3/9\n"
    assert scanned([text]) == [Mark(1, None, "end"), Mark(2, 9, "start"), Mark(3, 9, "start")]


def test_a_plan_of_epochs_goes_before_bars() -> None:
    """Where the Trainer tells how many epochs it plans, a bar of that length is one over something else."""
    text = b"  Num Epochs = 3\n 67%|######7   | 2/3 [00:02<00:01, 1.00it/s]\n{'loss': '0.5', 'epoch': '1'}\n"
    assert scanned([text], epochs=3) == [Mark(1, 3, "end")]
    assert bars.unnamed(text.splitlines()[1], 3) is not None
    assert bars.unnamed(text.splitlines()[1], 33) is None


def test_validation_belongs_to_its_epoch() -> None:
    """Where beginnings are told, no end leaves a gap before the next one; the last epoch's end is one."""
    text = b"Epoch 1/2\nEpoch 1: loss 0.5\nvalidating\nEpoch 2/2\nEpoch 2/2: loss 0.4\n"
    assert scanned([text]) == opened(2, 2, last_closes=True)


def test_bars_in_front_of_a_table() -> None:
    """Where a table tells the ends of epochs, the full bar before a validation is none; its total is taken."""
    text = b"epoch  train_loss  valid_loss  time\nEpoch 1/9 : |##| 100.00% [8/8 00:00<00:00]\n"
    scanner = Scanner()
    assert scanner.feed(text) == [Mark(1, None, "start")]
    assert scanner.feed(b"0  0.5  0.6  00:01\n") == [Mark(1, 9, "end")]


def test_an_end_that_is_never_told() -> None:
    """Where the line for the end of an epoch was to come and did not, its beginnings are what counts."""
    text = b"Epoch [1/3], Step [2/4], Loss: 1\nEpoch [2/3], Step [2/4], Loss: 1\nEpoch [3/3], Step [2/4], Loss: 1\n"
    assert scanned([text]) == [Mark(2, 3, "start"), Mark(3, 3, "start")]


def test_told_marks_hold_for_bars() -> None:
    """A bar within the epoch is its beginning or its end as the user says."""
    text = b"Epoch 1:   0%|  | 0/4 [00:00<?]\rEpoch 1: 100%|##| 4/4 [00:01<00:00]\n"
    assert Scanner(pattern=pattern(None, "end")).feed(text) == [Mark(1, None, "end")]
    assert Scanner(pattern=pattern(None, "start")).feed(text) == [Mark(1, None, "start")]


def test_a_row_begins_its_line() -> None:
    """A row behind a bar on the same line is none, however the two arrive."""
    text = b"epoch  train_loss  valid_loss  time\n 11%|#| 1/9 [00:01<00:08, 1it/s]0  0.5  0.6  00:01\n"
    assert scanned([text]) == [Mark(1, None, "start")]
    assert scanned([text[i : i + 1] for i in range(len(text))]) == [Mark(1, None, "start")]
