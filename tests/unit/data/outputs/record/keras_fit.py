"""Keras: `fit` with the progress bar (verbose 1), one line an epoch (verbose 2), and callbacks that talk of epochs."""

from __future__ import annotations

import sys

import keras
import numpy

verbose = int(sys.argv[1])
generator = numpy.random.default_rng(0)
x = generator.normal(size=(64, 8)).astype("float32")
y = (x.sum(axis=1) > 0).astype("float32")
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1)])
model.compile("adam", "mse", metrics=["mae"])
talkative = [
    keras.callbacks.ModelCheckpoint("best.keras", save_best_only=True, verbose=1),
    keras.callbacks.ReduceLROnPlateau(patience=1, min_delta=10.0, verbose=1),
]
model.fit(x, y, epochs=4, batch_size=16, validation_split=0.25, verbose=verbose, callbacks=talkative)
