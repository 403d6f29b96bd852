"""Reads a bundle's weights as tensors. Importing this module loads torch."""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from jobs.engine.kinds.table import check_tensors
from shared.bundles.card import WEIGHTS_NAME, ModelCard
from shared.bundles.reading import read_bundle
from shared.domain.errors import InvalidBundleError
from shared.ports.blobs import BlobStore


def load_model(
    store: BlobStore, bucket: str, prefix: str, expected_digest: str | None
) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    """Read a bundle, and check that its weights fit its card.

    Raises:
        InvalidBundleError: As in ``read_bundle``, or the weights do not fit the card.
    """
    card, data = read_bundle(store, bucket, prefix, expected_digest)
    where = f"{bucket}/{prefix.rstrip('/')}"
    tensors = parse_weights(data, where=where)
    check_tensors(card, tensors, where=where)
    return card, tensors


def parse_weights(data: bytes, *, where: str) -> dict[str, torch.Tensor]:
    """Read the tensors of a safetensors file, which cannot contain code.

    Raises:
        InvalidBundleError: The bytes are not a safetensors file.
    """
    try:
        return load(data)
    except (SafetensorError, KeyError) as error:
        found = f"{WEIGHTS_NAME} cannot be read: {error}"
        raise InvalidBundleError(found, expected="safetensors", where=where, hint="Upload the bundle again.") from error
