"""Names and versions of bundles. Imports nothing that only training needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from shared.bundles.card import ModelCard
from shared.domain.errors import InvalidOptionError
from shared.faults import first_fault


def no_name(error: ValidationError) -> InvalidOptionError:
    """Turn a card's validation error into the error for an invalid name or version."""
    fault = first_fault(error)
    return InvalidOptionError(
        f"{fault.place} {fault.found!r}: {fault.reason}",
        expected="a name in lower case, such as pbmc-sorted, and a version such as 1.0.0",
        hint="Choose another --name or --version.",
    )


def renamed(card: ModelCard, fields: Mapping[str, Any]) -> ModelCard:
    """A card with other values of fields, such as its name and version, checked.

    Raises:
        InvalidOptionError: A card cannot have them.
    """
    try:
        return type(card).model_validate(card.model_dump() | dict(fields))
    except ValidationError as error:
        raise no_name(error) from error
