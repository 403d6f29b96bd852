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
    ("cellarium.ml.models.scvi", "an scVI model of cellarium-ml, which has no classifier of labels"),
    ("cellarium.ml.models.scanvi", "a scANVI model of cellarium-ml"),
    ("cellarium.ml.models.geneformer", "a Geneformer model of cellarium-ml"),
    ("cellarium.ml.models.cellarium_gpt", "a CellariumGPT model of cellarium-ml"),
    ("cellarium.ml.models.socam", "a SOCAM model of cellarium-ml"),
    ("cellarium.ml.models.contrastive_mlp", "a ContrastiveMLP of cellarium-ml, which has no labels"),
    ("cellarium.ml.models.probabilistic_pca", "a ProbabilisticPCA of cellarium-ml, which has no labels"),
    ("cellarium.ml.models.onepass_mean_var_std", "statistics of genes by cellarium-ml, which has no labels"),
    ("cellarium.ml.models.tdigest", "statistics of genes by cellarium-ml, which has no labels"),
    ("cellarium.ml.models.hvg_seurat_v3", "a selection of genes by cellarium-ml, which has no labels"),
    ("cellarium.ml.models.geometric_sketch", "a selection of cells by cellarium-ml, which has no labels"),
    ("cellarium.ml.models.ols", "a regression of cellarium-ml, which has no labels"),
    ("cellarium.ml.models", "a model of cellarium-ml other than LogisticRegression"),
    ("cellarium.ml.transforms", "a pipeline of cellarium-ml with a transform that a bundle has no place for"),
    ("scvi", "a whole object of scvi-tools, which must be saved with model.save(FOLDER)"),
    ("__torch__", "a TorchScript program"),
    ("torch.nn", "a whole network of PyTorch, which only its own code can open"),
    ("anndata", "an AnnData object"),
)
"""Modules, the more special ones first."""


def known_as(module: str) -> str | None:
    """What an object of a class of this module is; None if that is not known."""
    return next((what for start, what in _KNOWN if f"{module}.".startswith(f"{start}.")), None)
