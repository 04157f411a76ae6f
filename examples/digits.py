"""Train a small neural network on scikit-learn's handwritten digits and print each epoch.

A plain training program: it knows nothing of greenrun. Try it alone, then behind greenrun:

    python examples/digits.py --epochs 20
    greenrun --epochs 20 python examples/digits.py --epochs 20
"""

from __future__ import annotations

import argparse

import numpy
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

SIDE_PIXELS = 8
SHIFTS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))  # rows and columns


def shifted(images: numpy.ndarray) -> numpy.ndarray:
    """Give the images and their copies moved by one pixel, so that the network learns shapes and not positions."""
    squares = images.reshape(-1, SIDE_PIXELS, SIDE_PIXELS)
    moved = [numpy.roll(squares, shift, axis=(1, 2)) for shift in SHIFTS]
    return numpy.concatenate(moved).reshape(-1, SIDE_PIXELS * SIDE_PIXELS)


def main() -> None:
    """Train for as many epochs as told; the loss is of the training set, the accuracy of digits never trained on."""
    parser = argparse.ArgumentParser(description="Train a small neural network on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=20, help="how often to go through the training set (20)")
    epochs = parser.parse_args().epochs

    images, labels = load_digits(return_X_y=True)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images / images.max(), labels, test_size=0.25, stratify=labels, random_state=0
    )
    train_images, train_labels = shifted(train_images), numpy.tile(train_labels, len(SHIFTS))

    network = MLPClassifier(hidden_layer_sizes=(512, 256), learning_rate_init=3e-4, batch_size=48, random_state=0)
    for epoch in range(1, epochs + 1):
        print(f"Epoch {epoch}/{epochs}", flush=True)
        network.partial_fit(train_images, train_labels, classes=numpy.unique(labels))
        accuracy = network.score(test_images, test_labels)
        print(f"  loss {network.loss_:.4f}, accuracy {accuracy:.4f}", flush=True)


if __name__ == "__main__":
    main()
