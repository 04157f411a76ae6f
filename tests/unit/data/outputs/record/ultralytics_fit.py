"""Ultralytics: a small YOLO made from its description, trained on squares that are drawn here."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy

generator = numpy.random.default_rng(0)
for part in ("train", "val"):
    for folder in ("images", "labels"):
        Path(folder, part).mkdir(parents=True)
    for i in range(8):
        image = generator.integers(0, 60, (64, 64, 3), dtype=numpy.uint8)
        left, top = (int(corner) for corner in generator.integers(0, 40, 2))
        image[top : top + 20, left : left + 20] = 255
        cv2.imwrite(f"images/{part}/{i}.png", image)
        Path(f"labels/{part}/{i}.txt").write_text(f"0 {(left + 10) / 64} {(top + 10) / 64} {20 / 64} {20 / 64}\n")
Path("data.yaml").write_text(f"path: {Path.cwd()}\ntrain: images/train\nval: images/val\nnames: {{0: square}}\n")

from ultralytics import YOLO  # noqa: E402

YOLO("yolov8n.yaml").train(
    data="data.yaml", epochs=3, imgsz=64, batch=2, workers=0, device="cpu", plots=False, amp=False, save=True
)
