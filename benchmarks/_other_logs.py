"""Output of programs that train nothing, or tell no epochs, made up line by line and the same each time.

Each kind writes in the form of its program, with numbers and names that vary; `NEAR_MISSES` are lines that have the
word or the shape of a mark and are none. Lines end in line feeds, some in carriage returns, as progress bars do.
"""

from __future__ import annotations

import base64
import json
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEAR_MISSES = (
    "epoch 1690000000",
    "epoch time 1690000000",
    "epoch time: 3",
    "epoch 0 of the cluster map",
    "Epoch        : 1",
    "epoch 17 fsid 2b3c created",
    "2023-01-01 epoch=17 osdmap",
    "2023-01-01T12:00:00.000+0000 7f01 10 osd.3 17 epoch 17 while starting",
    "2023-01-01 12:00:00 mon.a@0(leader).osd e17 epoch 18",
    "chronyd[612]: System clock wrong by 1.2 seconds since epoch 3",
    "[2023-01-01 12:00:00,123] INFO [Partition topic-0 broker=1] topic-0 starts at leader epoch 5 from offset 0",
    "[2023-01-01 12:00:00,123] INFO Updated PartitionLeaderEpoch. New: {epoch:3, offset:17}, Current: {epoch:2}",
    "[2023-01-01 12:00:00,123] INFO [Controller id=1, targetBrokerId=1] Epoch 3 fenced",
    "Epoch{epoch=3} is now committed by 2 of 3 replicas",
    "INFO  [main] 2023-01-01 12:00:00,123 Epoch.java:52 - Epoch 4 from leader 2 acknowledged",
    "WARN [QuorumPeer] Accepted epoch = 1, current epoch = 1",
    "New election. My id = 1, proposed zxid = 0x100000000, epoch 2",
    "tests/test_epoch.py::test_epoch[3-10] PASSED                                    [ 12%]",
    "test_epochs.py ....F.. 3/10",
    "FAILED tests/unit/test_epochs.py::test_lines[Epoch 3/10]",
    "Epochs: 10",
    "epochs: 100",
    "epochs=100, batch_size=32, lr=0.001",
    "num_epochs: 30",
    "EPOCHS = 50",
    "number of epochs 3",
    "steps per epoch: 600",
    "Steps in epoch 3: 600",
    "best model from Epoch 3",
    "Best epoch: 3 with loss 0.5",
    "Loaded checkpoint of epoch 7 (loss 0.3)",
    "Restoring model weights from the end of the best epoch: 3.",
    "Resuming from epoch 5, loss 0.25",
    "Training for 10 epochs on 4 devices",
    "Epoch 3: val_loss improved from 0.51 to 0.49, saving model to best.keras",
    "Epoch 00005: reducing learning rate of group 0 to 1.0000e-04.",
    "Epoch 7: early stopping",
    "Val Epoch: 3 loss 0.5",
    "Validation epoch 3: 100%|##########| 10/10 [00:01<00:00,  9.00it/s]",
    "epoch 12/10/2023",
    "epoch 10:30:00 loss 3",
    "epoch 0.53",
    "epoch 1.5",
    "epoch 3rd of five",
    "epoch_3.pt",
    "epoch=3-step=1200.ckpt",
    "checkpoints/epoch=3.ckpt 12/34",
    "--epoch 3 --lr 0.5 is not an option of this program",
    "libfoo 1:3.2-1 has epoch 1 in its version",
    "rpm: epoch 1, version 3",
    "Steps:  30%|###       | 3/10 [00:03<00:07,  1.00it/s]",
    "100%|##########| 10/10 [00:03<00:00,  3.33it/s]",
    "Batches per epoch:  30%|###       | 3/10 [00:03<00:07,  1.00it/s]",
    "Downloading shards: 100%|##########| 10/10 [00:03<00:00,  3.33it/s]",
    "model.safetensors:  45%|####5     | 450M/1.00G [00:09<00:11, 50.0MB/s]",
    "Iteration 3, inertia 1234.5",
    "Iteration 3 of the outer loop, loss = 0.5",
    "Iterations 3, loss = 0.5",
    "[3]\tsome text: not a figure",
    "[3]\t0.5\t0.6",
    "[12:00:00] task [3]\ttrain: 0.5",
    "3:\tlearn how it works in 3 steps",
    "[0, 1, 2, '00:01'",
    "['a', 'b']",
    "{'loss': 0.5, 'step': 3}",
    "{'epoch': 3}",
    "{'epoch': 17, 'type': 'osdmap'}",
    '{"epoch": 17, "fsid": "2b3c", "quorum": [0, 1, 2]}',
    '{"leader_epoch": 4, "loss": 0}',
    "  epoch  fsid  leader",
    "      3/100  two of them",
    "3/10 files done",
    "Page 3/10",
    "[3/10] Building CXX object src/epoch.cpp.o",
    "Num Examples = 3",
)

_WORDS = tuple(
    word
    for line in (
        "the of and model data file server request cache index time value total error warning loading ready worker",
        "node training validation loss accuracy batch step gradient tensor layer weight checkpoint memory device queue",
    )
    for word in line.split()
)


def _words(dice: random.Random, few: int, many: int) -> str:
    return " ".join(dice.choices(_WORDS, k=dice.randint(few, many)))


def _compiler(dice: random.Random) -> str:
    n = dice.randint(1, 400)
    name = dice.choice(_WORDS)
    return dice.choice(
        (
            f"[{n}/400] Building CXX object src/{name}/CMakeFiles/{name}.dir/{name}_{n}.cpp.o",
            f"src/{name}.c:{n}:{n % 80}: warning: unused variable '{name}' [-Wunused-variable]",
            f"   {n} |     int {name} = {n};",
            f"gcc -O2 -Wall -c -o {name}.o {name}.c -I/usr/include -DEPOCH={n}",
        )
    )


def _installer(dice: random.Random) -> str:
    name, n = dice.choice(_WORDS), dice.randint(1, 90)
    return dice.choice(
        (
            f"Collecting {name}>={n}.0",
            f"  Downloading {name}-{n}.1.0-py3-none-any.whl ({n}.{n} MB)",
            f"     ---------------------------------------- {n}.0/90.{n} MB {n}.1 MB/s eta 0:00:{n:02}",
            f"Get:{n} http://deb.example.org bookworm/main amd64 lib{name} amd64 1:{n}.2-1 [{n} kB]",
            f"Unpacking lib{name}:amd64 (1:{n}.2-1) ...",
            f"(Reading database ... {n}%",
        )
    )


def _kernel(dice: random.Random) -> str:
    device = f"{dice.choice(_WORDS)} {dice.randint(0, 9)}-{dice.randint(0, 9)}"
    return f"[{dice.uniform(0, 9e4):12.6f}] {device}: {_words(dice, 2, 8)}"


def _web_server(dice: random.Random) -> str:
    address = ".".join(str(dice.randint(1, 254)) for _ in range(4))
    path = "/".join(dice.choices(_WORDS, k=3)) + f"?epoch={dice.randint(0, 99)}"
    when = f"{dice.randint(1, 28):02}/Jan/2023:12:{dice.randint(0, 59):02}:{dice.randint(0, 59):02} +0000"
    return f'{address} - - [{when}] "GET /{path} HTTP/1.1" 200 {dice.randint(0, 99999)} "-" "curl"'


def _objects(dice: random.Random) -> str:
    values = [(dice.random(), dice.randint(0, 99), [1, 2], word)[dice.randrange(4)] for word in _WORDS[:5]]
    return json.dumps(dict(zip(dice.choices(_WORDS, k=5), values, strict=True)))


def _stack_trace(dice: random.Random) -> str:
    name = dice.choice(_WORDS)
    return dice.choice(
        (
            f'  File "/usr/lib/python3/{name}/{name}.py", line {dice.randint(1, 999)}, in {name}_epoch',
            f"    for epoch in range({dice.randint(1, 99)}):",
            f"\tat org.example.{name}.Epoch.run(Epoch.java:{dice.randint(1, 999)})",
            f"ValueError: epoch {name} is not a number",
        )
    )


def _steps(dice: random.Random) -> str:
    n = dice.randint(1, 99999)
    return dice.choice(
        (
            f"step {n} loss {dice.random():.4f} lr {dice.random():.2e} tokens/s {n}",
            f"[{n}/100000] loss: {dice.random():.3f}",
            f"iter {n}: loss {dice.random():.4f}, time {dice.random() * 99:.2f}ms, mfu {dice.random():.2f}%",
            f"step={n} train_loss={dice.random():.4f} grad_norm={dice.random():.3f}",
        )
    )


def _bar(dice: random.Random) -> str:
    n = dice.randint(0, 469)
    full = n * 10 // 469
    strokes = "#" * full + " " * (10 - full)
    times = f"00:{n % 60:02}<00:{dice.randint(0, 59):02}, {dice.random() * 99:5.2f}it/s"
    return f"{n * 100 // 469:3}%|{strokes}| {n}/469 [{times}]\r"


def _table(dice: random.Random) -> str:
    return "  ".join(
        f"{dice.random() * 100:8.3f}" if i else f"{dice.randint(0, 999):5}" for i in range(dice.randint(3, 7))
    )


def _encoded(dice: random.Random) -> str:
    return base64.b64encode(dice.randbytes(57)).decode()


def _test_runner(dice: random.Random) -> str:
    name, n = dice.choice(_WORDS), dice.randint(1, 99)
    return f"tests/test_{name}.py::test_epoch_{name}[{n}] PASSED {' ' * 20}[{n:3}%]"


def _coloured(dice: random.Random) -> str:
    return f"\x1b[32m{dice.choice(_WORDS)}\x1b[0m \x1b[1m{dice.randint(0, 99)}\x1b[22m {_words(dice, 1, 6)}"


def _prose(dice: random.Random) -> str:
    return _words(dice, 6, 14)


def _near_miss(dice: random.Random) -> str:
    return dice.choice(NEAR_MISSES)


KINDS: dict[str, Callable[[random.Random], str]] = {
    "compiler": _compiler,
    "installer": _installer,
    "kernel": _kernel,
    "web server": _web_server,
    "JSON": _objects,
    "stack traces": _stack_trace,
    "steps of a training": _steps,
    "bars over batches": _bar,
    "tables of figures": _table,
    "base64": _encoded,
    "test runner": _test_runner,
    "colours": _coloured,
    "prose": _prose,
    "near misses": _near_miss,
}
_LINES = 400


def _line(text: str) -> str:
    return text if text.endswith("\r") else text + "\n"


def of_kind(kind: str, size: int) -> bytes:
    """Give `size` bytes of one kind of output or a little more."""
    dice = random.Random(kind)  # noqa: S311 - no secret
    text = ""
    while len(text) < size:
        text += "".join(_line(KINDS[kind](dice)) for _ in range(_LINES))
    return text.encode()


def pieces(size: int, seed: int = 20) -> Iterator[bytes]:
    """Give `size` bytes of such output or a little more, in pieces of some kilobytes: kinds in turn, some binary."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    made = 0
    while made < size:
        for write in KINDS.values():
            piece = "".join(_line(write(dice)) for _ in range(_LINES)).encode()
            made += len(piece)
            yield piece
        mixed = [write(dice) for write in dice.choices(list(KINDS.values()), k=_LINES)]
        piece = "\n".join(mixed).encode() + b"\n" + dice.randbytes(4096) + b"\n"
        made += len(piece)
        yield piece
