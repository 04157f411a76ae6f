"""Boosting and scikit-learn: the argument chooses xgboost, lightgbm, catboost, mlp or sgd."""

from __future__ import annotations

import sys

import numpy

which = sys.argv[1]
generator = numpy.random.default_rng(0)
x = generator.normal(size=(200, 5))
y = (x.sum(axis=1) > 0).astype(int)
if which == "xgboost":
    import xgboost

    matrix = xgboost.DMatrix(x, y)
    xgboost.train(
        {"objective": "binary:logistic", "eval_metric": ["logloss", "error"]},
        matrix,
        num_boost_round=8,
        evals=[(matrix, "train"), (matrix, "eval")],
    )
elif which == "lightgbm":
    import lightgbm

    train = lightgbm.Dataset(x, y)
    lightgbm.train(
        {"objective": "binary", "metric": ["binary_logloss", "auc"]},
        train,
        num_boost_round=8,
        valid_sets=[train, lightgbm.Dataset(x, y, reference=train)],
        callbacks=[lightgbm.log_evaluation(1)],
    )
elif which == "catboost":
    import catboost

    catboost.CatBoostClassifier(iterations=8, depth=3, allow_writing_files=False).fit(x, y)
elif which == "mlp":
    from sklearn.neural_network import MLPClassifier

    MLPClassifier((8,), max_iter=8, verbose=True, random_state=0).fit(x, y)
else:
    from sklearn.linear_model import SGDClassifier

    SGDClassifier(max_iter=8, tol=None, verbose=1, random_state=0).fit(x, y)
