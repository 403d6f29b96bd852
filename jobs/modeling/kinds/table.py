"""The table of model kinds that can be trained. A new kind adds a file to this package and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from jobs.modeling.kinds.centroid import CentroidRecipe
from jobs.modeling.kinds.linear import LinearRecipe
from jobs.modeling.kinds.neighbours import NeighboursRecipe
from jobs.modeling.kinds.recipe import Recipe
from shared.bundles.card import Kind

RECIPES: Mapping[Kind, Recipe] = {
    Kind.LINEAR: LinearRecipe(),
    Kind.CENTROID: CentroidRecipe(),
    Kind.NEIGHBOURS: NeighboursRecipe(),
}
