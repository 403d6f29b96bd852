"""What annotated.h5ad has beside its columns in obs, and what pseudobulk.h5ad holds: for the documentation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Element:
    """A part of an h5ad file.

    Attributes:
        place: As in anndata, such as ``obs["label"]``.
        kind: Its type and shape.
        meaning: What it says, in Markdown.
    """

    place: str
    kind: str
    meaning: str


_ABOUT = (
    Element('uns["celldrop"]["model"]', "text", "The model, as `NAME@VERSION`."),
    Element('uns["celldrop"]["model_digest"]', "text", "The digest of its bundle."),
    Element('uns["celldrop"]["version"]', "text", "The version of celldrop."),
)

BESIDE_OBS = (
    Element(
        'obsm["X_celldrop"]',
        "float32, cells x 20",
        "Each cell's place on the first principal components of the file's own cells, in log1p expression of the "
        "model's genes. Cells that are close to each other have similar expression: a basis for a map or for "
        "neighbours. Left out with the option `clusters=off`; unless it is `on`, in files with more than a million "
        "cells or with a matrix stored by columns; and in files that are older than anndata 0.7.",
    ),
    Element(
        'obsm["cas_cl_scores"]',
        "float32, sparse, cells x terms",
        "With `cas=on`, the scores in `ontology_response.json`, where the client of Cellarium CAS puts them. Replaces "
        "those that the file has. Left out in files that are older than anndata 0.7.",
    ),
    Element('uns["cas_metadata"]["cl_names"]', "text", "Likewise, the Cell Ontology id of each column of the scores."),
    Element('uns["cas_metadata"]["cl_labels"]', "text", "Likewise, the name of each of these terms."),
    Element(
        'uns["cas_metadata"]["ontology_resource_name"]',
        "text",
        "Likewise, the model, as `NAME@VERSION`: `ontology_resource.json` has what CAS would give for this name.",
    ),
    *_ABOUT,
    Element(
        'uns["celldrop"]["consensus"]',
        "text",
        "With the option `consensus`, the models 1, 2 and so on of its columns in `obs`, as `NAME@VERSION`.",
    ),
)
"""In annotated.h5ad. All else in it is the input's."""

IN_PSEUDOBULK = (
    Element(
        "X",
        "int64, groups x genes",
        "For each group, a label or a label and a sample, the sum of the counts of its cells. Only groups that have "
        "cells are there, in the model's order of labels. All genes of the file are there, in its order.",
    ),
    Element('obs["label"]', "category", "The group's label, as in `annotations.csv.gz`."),
    Element('obs["label_id"]', "category", "Its Cell Ontology id. Left out if no label has one."),
    Element('obs["lineage"]', "category", "The lineage of the label. Left out if no label has one."),
    Element('obs["sample"]', "category", "The group's sample. Left out if no column tells samples apart."),
    Element('obs["psbulk_cells"]', "int64", "Number of cells that were summed, named as by decoupler."),
    Element('obs["psbulk_counts"]', "int64", "Sum of their counts over all genes, likewise."),
    Element("obs_names", "text", "The label, or the sample and the label with `_` between them."),
    Element("var", "text", "The index of the file's `var`, and those of its columns that name genes."),
    *_ABOUT,
    Element(
        'uns["celldrop"]["n_cells_without_counts"]',
        "text",
        "Number of cells that were left out because a value is not a whole count.",
    ),
    Element(
        'uns["celldrop"]["n_cells_without_sample"]',
        "text",
        "Number of cells that were left out because they have no sample.",
    ),
)
"""In pseudobulk.h5ad."""
