"""What the client of Cellarium CAS reads in a folder of results; run by the python of .venv-cas, never by ours.

Usage: cas_client.py FOLDER OUT.npz COLUMN, where the obs column COLUMN of annotated.h5ad has clusters.
"""

from __future__ import annotations

import importlib
import json
import socket
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

LEAST, BEST = 0.2, 3


def _no_network(*_: object, **__: object) -> None:
    msg = "the client reaches no host here"
    raise OSError(msg)


def _calls(cells: Any) -> dict[str, Any]:
    """The labels that the client has added to obs."""
    return {
        f"{what}_{place}": cells.obs[f"cas_cell_type_{what}_{place}"].to_numpy()
        for what in ("label", "name", "score")
        for place in range(1, BEST + 1)
    }


def main(folder: str, out: str, column: str) -> None:
    socket.socket.connect = _no_network  # type: ignore[method-assign]
    models = importlib.import_module("cellarium.cas.models")
    client = importlib.import_module("cellarium.cas.postprocessing.ontology_aware")
    cache = importlib.import_module("cellarium.cas.postprocessing.cell_ontology").CellOntologyCache
    results = Path(folder)
    text = (results / "ontology_response.json").read_text()
    response = models.CellTypeOntologyAwareResults.model_validate_json(text)
    resource = json.loads((results / "ontology_resource.json").read_text())
    models.CellOntologyResource.model_validate(resource)
    cl = cache(resource)
    annotated = importlib.import_module("anndata").read_h5ad(results / "annotated.h5ad")
    bare = annotated.copy()
    del bare.obsm["cas_cl_scores"], bare.uns["cas_metadata"]
    client.insert_cas_ontology_aware_response_into_adata(response, bare, cl)
    found: dict[str, Any] = {"model_name": response.model_name, "cl_names": cl.cl_names, "cl_labels": cl.cl_labels}
    for whose, cells in (("inserted", bare), ("annotated", annotated)):
        about = cells.uns["cas_metadata"]
        assert (list(about["cl_names"]), list(about["cl_labels"])) == (cl.cl_names, cl.cl_labels)
        found[f"{whose}/scores"] = cells.obsm["cas_cl_scores"].toarray()
        for shortest in (True, False):
            way = "shortest" if shortest else "longest"
            options = {"min_acceptable_score": LEAST, "top_k": BEST, "use_shortest_path": shortest}
            client.compute_most_granular_top_k_calls_single(cells, cl, **options)
            found |= {f"{whose}/{way}/{name}": values for name, values in _calls(cells).items()}
        client.compute_most_granular_top_k_calls_cluster(cells, cl, LEAST, column, top_k=BEST)
        found |= {f"{whose}/cluster/{name}": values for name, values in _calls(cells).items()}
        scores = client.get_aggregated_cas_ontology_aware_scores(cells, None)
        tree = client.convert_aggregated_cell_ontology_scores_to_rooted_tree(scores, cl)
        found[f"{whose}/phyloxml"] = client.generate_phyloxml_from_scored_cell_ontology_tree(tree, "cells", cl)
    with Path(out).open("wb") as file:
        arrays: dict[str, Any] = {name: np.asarray(values) for name, values in found.items()}
        plain: dict[str, Any] = {name: v.astype(str) if v.dtype == object else v for name, v in arrays.items()}
        np.savez_compressed(file, **plain)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*sys.argv[1:])
