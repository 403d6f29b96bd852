"""The error for an invalid name or version of a bundle. Imports nothing that only training needs."""

from __future__ import annotations

from pydantic import ValidationError

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
