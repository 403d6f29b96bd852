"""Names other kinds of models, and objects that are none, by the classes that their pickles ask for."""

from __future__ import annotations

_KNOWN: tuple[tuple[str, str], ...] = (
    ("sklearn.ensemble._forest", "a random forest"),
    ("sklearn.ensemble.forest", "a random forest"),
    ("sklearn.ensemble", "an ensemble of scikit-learn"),
    ("sklearn.tree", "a decision tree"),
    ("sklearn.svm", "a support vector machine"),
    ("sklearn.neighbors", "a nearest-neighbours model of scikit-learn"),
    ("sklearn.neural_network", "a neural network of scikit-learn"),
    ("sklearn.pipeline", "a pipeline of scikit-learn"),
    ("xgboost", "a model of XGBoost"),
    ("lightgbm", "a model of LightGBM"),
    ("keras", "a model of Keras"),
    ("tensorflow", "a model of TensorFlow"),
    ("scvi", "a whole object of scvi-tools, which must be saved with model.save(FOLDER)"),
    ("__torch__", "a TorchScript program"),
    ("torch.nn", "a whole network of PyTorch, which only its own code can open"),
    ("anndata", "an AnnData object"),
)
"""Modules, the more special ones first."""


def known_as(module: str) -> str | None:
    """What an object of a class of this module is; None if that is not known."""
    return next((what for start, what in _KNOWN if f"{module}.".startswith(f"{start}.")), None)
