"""The training jobs that the real traces come from: small, of several frameworks, on data made from a seed.

A job is what a training program consists of: one batch of work at a relative size, one pass of validation, one write
of a checkpoint. `train.py` puts epochs together from them. Only the framework of the job in hand is imported.
"""

from __future__ import annotations

import os
import pickle
import random
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Job(NamedTuple):
    """What an epoch is put together from; `state` gives what a checkpoint holds."""

    batch: Callable[[float], None]
    validate: Callable[[], None]
    state: Callable[[], Any]


def save(job: Job, path: str) -> None:
    """Write a checkpoint, as far as the disk."""
    with open(path, "wb") as file:
        pickle.dump(job.state(), file)
        file.flush()
        os.fsync(file.fileno())


def numpy_mlp(seed: int) -> Job:
    """Two layers of numpy, written out."""
    import numpy as np

    chance = np.random.default_rng(seed)
    x, y = chance.normal(size=(20000, 128)), chance.normal(size=(20000, 8))
    first, second = chance.normal(size=(128, 256)) * 0.1, chance.normal(size=(256, 8)) * 0.1

    def batch(size: float) -> None:
        rows = chance.integers(0, len(x), round(128 * size))
        hidden = np.maximum(x[rows] @ first, 0)
        error = hidden @ second - y[rows]
        back = (error @ second.T) * (hidden > 0)
        second[...] -= 1e-3 * hidden.T @ error / len(rows)
        first[...] -= 1e-3 * x[rows].T @ back / len(rows)

    def validate() -> None:
        np.square(np.maximum(x[:4000] @ first, 0) @ second - y[:4000]).mean()

    return Job(batch, validate, lambda: (first, second, x))


def sklearn_mlp(seed: int) -> Job:
    """scikit-learn's neural network, by partial fits."""
    import numpy as np
    from sklearn.neural_network import MLPClassifier

    chance = np.random.default_rng(seed)
    x, y = chance.normal(size=(8000, 64)), chance.integers(0, 10, 8000)
    network = MLPClassifier((128,), batch_size=64, random_state=seed)
    network.partial_fit(x[:64], y[:64], classes=range(10))

    def batch(size: float) -> None:
        rows = chance.integers(0, len(x), round(256 * size))
        network.partial_fit(x[rows], y[rows])

    return Job(batch, lambda: network.score(x[:4000], y[:4000]), lambda: (network, x))


def sklearn_sgd(seed: int) -> Job:
    """scikit-learn's linear classifier, by partial fits."""
    import numpy as np
    from sklearn.linear_model import SGDClassifier

    chance = np.random.default_rng(seed)
    x, y = chance.normal(size=(20000, 100)), chance.integers(0, 5, 20000)
    model = SGDClassifier(random_state=seed)

    def batch(size: float) -> None:
        rows = chance.integers(0, len(x), round(1000 * size))
        model.partial_fit(x[rows], y[rows], classes=range(5))

    return Job(batch, lambda: model.score(x, y), lambda: (model, x))


def sklearn_forest(seed: int) -> Job:
    """Grow a random forest that gains two trees a batch; validation asks all of them, so it grows."""
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier

    chance = np.random.default_rng(seed)
    x, y = chance.normal(size=(1000, 16)), chance.integers(0, 3, 1000)
    forest = RandomForestClassifier(1, warm_start=True, random_state=seed, max_depth=6).fit(x, y)

    def batch(size: float) -> None:
        forest.set_params(n_estimators=forest.n_estimators + max(1, round(2 * size))).fit(x, y)

    return Job(batch, lambda: forest.score(x, y), lambda: forest)


def xgboost(seed: int, booster: str = "gbtree") -> Job:
    """XGBoost, one round a batch; `dart` drops trees and so asks all that came before."""
    import numpy as np
    import xgboost as xgb

    chance = np.random.default_rng(seed)
    x, y = chance.normal(size=(40000, 30)), chance.integers(0, 2, 40000)
    data = xgb.DMatrix(x, y)
    settings = {"tree_method": "hist", "max_depth": 5, "nthread": 1, "booster": booster, "objective": "binary:logistic"}
    if booster == "dart":
        settings |= {"rate_drop": 0.1}
    model = xgb.Booster(settings, [data])
    rounds = [0]

    def batch(_size: float) -> None:
        model.update(data, rounds[0])
        rounds[0] += 1

    return Job(batch, lambda: model.predict(xgb.DMatrix(x)), lambda: (model.save_raw(), x))


def xgboost_dart(seed: int) -> Job:
    """XGBoost with dropped trees: a round costs more the more there were."""
    return xgboost(seed, "dart")


def lightgbm(seed: int, boosting: str = "gbdt") -> Job:
    """LightGBM, one round a batch."""
    import lightgbm as lgb
    import numpy as np

    chance = np.random.default_rng(seed)
    x, y = chance.normal(size=(20000, 30)), chance.integers(0, 2, 20000)
    settings = {"num_threads": 1, "objective": "binary", "verbosity": -1, "boosting": boosting, "num_leaves": 31}
    model = lgb.Booster(settings, lgb.Dataset(x, y))

    def batch(_size: float) -> None:
        model.update()

    return Job(batch, lambda: model.predict(x, num_threads=1), lambda: (model.model_to_string(), x))


def lightgbm_dart(seed: int) -> Job:
    """LightGBM with dropped trees: a round costs more the more there were."""
    return lightgbm(seed, "dart")


def _torch(seed: int, model: Any, make: Callable[[float], Any], classes: int) -> Job:
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    optimizer = torch.optim.Adam(model.parameters())

    def batch(size: float) -> None:
        x = make(size)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), torch.randint(0, classes, (len(x),)))
        loss.backward()
        optimizer.step()

    def validate() -> None:
        with torch.no_grad():
            for _ in range(8):
                model(make(1.0))

    return Job(batch, validate, lambda: (model.state_dict(), optimizer.state_dict()))


def torch_mlp(seed: int) -> Job:
    """PyTorch: three linear layers."""
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))
    return _torch(seed, model, lambda size: torch.randn(round(128 * size), 256), 10)


def torch_cnn(seed: int) -> Job:
    """PyTorch: a small convolutional network; the size scales the side of the images."""
    import torch
    from torch import nn

    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip
    return _torch(seed, model, lambda size: torch.randn(16, 3, round(24 * size**0.5), round(24 * size**0.5)), 10)


def torch_lstm(seed: int) -> Job:
    """PyTorch: an LSTM; the size scales the length of the sequences."""
    import torch
    from torch import nn

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(32, 64, batch_first=True), nn.Linear(64, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.lstm(x)[0][:, -1])

    return _torch(seed, Last(), lambda size: torch.randn(16, round(40 * size), 32), 5)


def torch_transformer(seed: int) -> Job:
    """PyTorch: two layers of attention; the size scales the length of the sequences."""
    import torch
    from torch import nn

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
            self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(64, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.encoder(x).mean(1))

    return _torch(seed, Mean(), lambda size: torch.randn(8, round(48 * size), 64), 5)


def torch_compiled(seed: int) -> Job:
    """PyTorch: a network that is compiled when it is first used."""
    import torch
    from torch import nn

    model = torch.compile(nn.Sequential(nn.Linear(128, 256), nn.GELU(), nn.Linear(256, 10)))
    return _torch(seed, model, lambda size: torch.randn(round(64 * size), 128), 10)


def keras_jax(seed: int, *, convolutional: bool = False) -> Job:
    """Keras on JAX, a fit of sixteen batches at a time; it compiles at the first."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras
    import numpy as np

    chance = np.random.default_rng(seed)
    side = [keras.layers.Conv2D(8, 3), keras.layers.Flatten()] if convolutional else [keras.layers.Flatten()]
    model = keras.Sequential([*side, keras.layers.Dense(128, "relu"), keras.layers.Dense(10, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    x, y = chance.normal(size=(512, 20, 20, 1)).astype("float32"), chance.integers(0, 10, 512)

    def batch(_size: float) -> None:
        model.fit(x, y, batch_size=32, epochs=1, verbose=0)

    return Job(batch, lambda: model.evaluate(x, y, verbose=0), model.get_weights)


def keras_jax_cnn(seed: int) -> Job:
    """Keras on JAX, convolutional."""
    return keras_jax(seed, convolutional=True)


def jax_buckets(seed: int) -> Job:
    """JAX on sequences of many lengths, padded to a few: each padded length is compiled when it first comes."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    chance = np.random.default_rng(seed)
    weights = jnp.asarray(chance.normal(size=(64, 64)) * 0.1)

    @jax.jit
    def step(weights: Any, x: Any) -> Any:
        def loss(weights: Any) -> Any:
            return jnp.mean(jnp.tanh(jnp.tanh(x @ weights) @ weights.T) ** 2)

        return weights - 1e-3 * jax.grad(loss)(weights)

    state = [weights]

    def batch(_size: float) -> None:
        padded = 128 * (1 + min(11, int(chance.exponential(2.5))))  # the long ones are rare
        state[0] = step(state[0], jnp.asarray(chance.normal(size=(padded, 64)))).block_until_ready()

    return Job(batch, lambda: None, lambda: np.asarray(state[0]))


def cached_samples(seed: int, *, with_replacement: bool = False) -> Job:
    """Load through a cache that unpacks each sample when it is first asked for and keeps it; a small model of numpy.

    With replacement, as a weighted sampler draws, the last ones are unpacked some epochs later.
    """
    import numpy as np

    chance, picks = np.random.default_rng(seed), random.Random(seed)  # noqa: S311  data, no secret
    samples = 600
    packed = [zlib.compress(chance.integers(0, 40, (24, 24, 3)).astype("uint8").tobytes(), 6) for _ in range(samples)]
    cache: dict[int, Any] = {}
    weights = chance.normal(size=(24 * 24 * 3, 32)) * 0.01
    order: list[int] = []

    def get(at: int) -> Any:
        if at not in cache:
            raw = np.frombuffer(zlib.decompress(packed[at]), "uint8").astype("float64").reshape(24, 24, 3)
            for _ in range(3):  # a blur, as a loader that augments once would do
                raw = (raw + np.roll(raw, 1, 0) + np.roll(raw, 1, 1) + np.roll(raw, 1, 2)) / 4
            cache[at] = raw.reshape(-1) / 255
        return cache[at]

    def batch(_size: float) -> None:
        if with_replacement:
            rows = [picks.randrange(samples) for _ in range(30)]
        else:
            if len(order) < 30:
                order[:] = picks.sample(range(samples), samples)
            rows = [order.pop() for _ in range(30)]
        x = np.stack([get(at) for at in rows])
        hidden = np.tanh(x @ weights)
        weights[...] -= 1e-4 * x.T @ hidden

    return Job(batch, lambda: None, lambda: weights)


def cached_weighted_samples(seed: int) -> Job:
    """Load the same way, drawing with replacement."""
    return cached_samples(seed, with_replacement=True)


def kernel_perceptron(seed: int) -> Job:
    """Train a perceptron in kernel space: each mistake is kept and asked from then on, so that it grows by itself."""
    import numpy as np

    chance = np.random.default_rng(seed)
    kept, signs = chance.normal(size=(600, 20)), chance.choice([-1.0, 1.0], 600)

    def batch(_size: float) -> None:
        nonlocal kept, signs
        x, y = chance.normal(size=(16, 20)), chance.choice([-1.0, 1.0], 16)
        distances = ((x[:, None, :] - kept[None, :, :]) ** 2).sum(-1)
        wrong = np.sign(np.exp(-distances / 40) @ signs) != y
        wrong[1:] &= chance.random(15) < 0.02  # most mistakes are forgotten again, the first of a batch half the time
        wrong[0] &= chance.random() < 0.2
        kept, signs = np.concatenate([kept, x[wrong]]), np.concatenate([signs, y[wrong]])

    return Job(batch, lambda: None, lambda: kept)


JOBS: dict[str, Callable[[int], Job]] = {
    job.__name__: job
    for job in (
        numpy_mlp, sklearn_mlp, sklearn_sgd, sklearn_forest, xgboost, xgboost_dart, lightgbm, lightgbm_dart,
        torch_mlp, torch_cnn, torch_lstm, torch_transformer, torch_compiled, keras_jax, keras_jax_cnn, jax_buckets,
        cached_samples, cached_weighted_samples, kernel_perceptron,
    )
}  # fmt: skip
