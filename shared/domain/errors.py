"""The errors of the domain: one class and one stable code per situation that a caller can act on."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from shared.domain.words import shortened

MOST_FOUND, MOST_ELSE = 500, 300
"""Longest texts, in characters: of what was found, and of each other part. A text from a file may be megabytes long."""


class CelldropError(Exception):
    """Base of all our errors: what was found, what was expected, where, and what to do.

    Attributes:
        code: Stable, documented in docs/reference/errors.md, never reused.
        retryable: Whether the same call may succeed later without a change by the caller.
    """

    code: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False

    def __init__(self, found: str, *, expected: str = "", where: str = "", hint: str = "") -> None:
        self.found = shortened(found, MOST_FOUND)
        self.expected = shortened(expected, MOST_ELSE)
        self.where = shortened(where, MOST_ELSE)
        self.hint = shortened(hint, MOST_FOUND)
        super().__init__(self.message)

    def __reduce__(self) -> tuple[object, ...]:
        return partial(type(self), expected=self.expected, where=self.where, hint=self.hint), (self.found,)

    @property
    def message(self) -> str:
        """One or two sentences: what was found, where, and what was expected."""
        where = f" ({self.where})" if self.where else ""
        expected = f"; expected {self.expected.removesuffix('.')}" if self.expected else ""
        return f"{self.found.removesuffix('.')}{where}{expected}."


class InternalError(CelldropError):
    """A bug in celldrop: an invariant did not hold."""


# --- The input cannot be used: recorded as REJECTED or FAILED, and acknowledged ---------------------------------


class InputError(CelldropError):
    """The input cannot be annotated as it is; submitting it again will not help."""

    code = "INPUT_UNUSABLE"


class InputNotFoundError(InputError):
    """The named object does not exist."""

    code = "INPUT_NOT_FOUND"


class InputChangedError(InputError):
    """The pinned generation can no longer be read."""

    code = "INPUT_CHANGED"


class NotHdf5Error(InputError):
    """The input is not an HDF5 file but something else (R, CSV, zarr, an archive, a web page), or a folder."""

    code = "NOT_HDF5"


class TruncatedFileError(InputError):
    """The HDF5 file is truncated, or its contents cannot be decoded."""

    code = "FILE_DAMAGED"


class UnsafeFileError(InputError):
    """The file uses an HDF5 feature that can refer to other files, or declares sizes that it cannot contain."""

    code = "FILE_UNSAFE"


class NotAnnDataError(InputError):
    """The file is HDF5, but in neither an AnnData nor a 10x layout."""

    code = "NOT_ANNDATA"


class NoMatrixError(InputError):
    """No matrix in the file contains counts or log-normalised values."""

    code = "NO_USABLE_MATRIX"


class CountsNeededError(InputError):
    """The model computes from counts, and the chosen matrix of the file holds something else."""

    code = "COUNTS_NEEDED"


class BadValuesError(InputError):
    """NaN, infinite or negative values where counts or log-normalised values were expected."""

    code = "BAD_VALUES"


class DuplicateCellsError(InputError):
    """Cell ids are not unique, so results could not be matched to cells."""

    code = "DUPLICATE_CELLS"


class EmptyMatrixError(InputError):
    """The matrix has no cells or no genes."""

    code = "EMPTY_MATRIX"


class NoGeneOverlapError(InputError):
    """Too few of the model's genes are in the file."""

    code = "GENES_DO_NOT_MATCH"


class NotGenesError(InputError):
    """The matrix contains no gene expression: every feature is a peak, an antibody or something else, not a gene."""

    code = "NOT_GENE_EXPRESSION"


class WrongSpeciesError(InputError):
    """The file's species is not the model's."""

    code = "WRONG_SPECIES"


class InputTooLargeError(InputError):
    """The input exceeds a limit of this deployment."""

    code = "INPUT_TOO_LARGE"


# --- The request cannot be used ----------------------------------------------------------------------------------


class InvalidOptionError(CelldropError):
    """An option is unknown or out of range."""

    code = "INVALID_OPTION"


class ModelNotFoundError(CelldropError):
    """There is no bundle with that name, version or digest."""

    code = "MODEL_NOT_FOUND"


class NoTermsError(CelldropError):
    """The option ``cas`` is on, and no label of the model is a term of the Cell Ontology."""

    code = "MODEL_HAS_NO_TERMS"


class ModelExistsError(CelldropError):
    """A bundle with that name and version already exists, and versions never change."""

    code = "MODEL_EXISTS"


class ModelDownloadError(CelldropError):
    """A model or an index cannot be downloaded: the server refuses, or sends something else than was offered."""

    code = "MODEL_DOWNLOAD_FAILED"


class InvalidBundleError(CelldropError):
    """The bundle's card or weights break the format."""

    code = "INVALID_BUNDLE"


class UnsafeModelError(CelldropError):
    """The foreign model file needs more than plain data to load."""

    code = "MODEL_UNSAFE"


class UnsupportedModelError(CelldropError):
    """The foreign model file is of a kind that no importer supports."""

    code = "MODEL_UNSUPPORTED"


class TrainingDataError(CelldropError):
    """No model can be trained on the labelled data."""

    code = "TRAINING_DATA_UNUSABLE"


class LabelsNotComparableError(CelldropError):
    """The file's labels cannot be compared with the model's: no such column, no labelled cell, or none it knows."""

    code = "LABELS_NOT_COMPARABLE"


class NotAManifestError(CelldropError):
    """There is no manifest of a result, or one of another version."""

    code = "NOT_A_MANIFEST"


class InputDiffersError(CelldropError):
    """The file is not the one that the manifest is about."""

    code = "INPUT_DIFFERS"


class SubmissionNotFoundError(CelldropError):
    """There is no submission with that id."""

    code = "SUBMISSION_NOT_FOUND"


class ResultNotReadyError(CelldropError):
    """The submission has no committed result: it has not ended yet, or it ended without one."""

    code = "RESULT_NOT_READY"


class ResultFileNotFoundError(CelldropError):
    """The committed result has no file with that name."""

    code = "RESULT_FILE_NOT_FOUND"


class InvalidMessageError(CelldropError):
    """The event or message cannot be parsed. It is acknowledged and logged, never redelivered."""

    code = "INVALID_MESSAGE"


class UnknownVersionError(InvalidMessageError):
    """The message has an unknown schema version. It is not acknowledged, so it ends in the dead-letter topic."""

    code = "UNKNOWN_SCHEMA_VERSION"


class BucketNotAllowedError(CelldropError):
    """The requested object is in a bucket from which this deployment does not accept files."""

    code = "BUCKET_NOT_ALLOWED"


class NotAuthenticatedError(CelldropError):
    """The request has no identity token, or an invalid one."""

    code = "NOT_AUTHENTICATED"


class NotAllowedError(CelldropError):
    """The caller is authenticated, but not allowed to do this."""

    code = "NOT_ALLOWED"


class IllegalTransitionError(CelldropError):
    """The state machine has no such transition: the record has changed, and the caller's information is stale."""

    code = "ILLEGAL_TRANSITION"


class SettingsError(CelldropError):
    """A setting is missing or malformed."""

    code = "INVALID_SETTING"


# --- Running ------------------------------------------------------------------------------------------------------


class AttemptsExhaustedError(CelldropError):
    """Every allowed attempt failed."""

    code = "ATTEMPTS_EXHAUSTED"


class TaskCrashedError(CelldropError):
    """A task or the finalizer crashed twice at the same place: a bug in celldrop, which a retry would meet again."""

    code = "TASK_CRASHED"

    @classmethod
    def of(cls, who: str, crash: str, log: str) -> TaskCrashedError:
        """Make the error from who crashed, how and where, and the log with the full traceback."""
        hint = f"A retry would crash again: please report it, with the task's log{f' ({log})' if log else ''}."
        return cls(f"{who} crashed twice at the same place: {crash.removesuffix('.')}", hint=hint)


class DeviceUnavailableError(CelldropError):
    """The plan needs a GPU, but there is none, or its memory cannot hold a single block of cells."""

    code = "GPU_UNAVAILABLE"


class NoCapacityError(CelldropError):
    """The platform has no capacity to start the work now."""

    code = "NO_CAPACITY"
    retryable = True


class StartRefusedError(CelldropError):
    """The platform refuses to start the work for a reason that may pass, such as a permission or a fault of the job."""

    code = "START_REFUSED"
    retryable = True


class CapacityDeadlineError(CelldropError):
    """The platform had no capacity until the deadline."""

    code = "CAPACITY_DEADLINE"


class StaleWorkerError(CelldropError):
    """This worker no longer holds its epoch, ownership or lease; it must stop and change nothing."""

    code = "STALE_WORKER"


class InterruptedRunError(CelldropError):
    """The user stopped the command; running it again continues."""

    code = "INTERRUPTED"


# --- Stores and buses: raised by adapters --------------------------------------------------------------------------


class BlobNotFoundError(CelldropError):
    """There is no object with that name, or not at that generation."""

    code = "BLOB_NOT_FOUND"


class PreconditionFailedError(CelldropError):
    """A conditional write found another version than it expected."""

    code = "PRECONDITION_FAILED"


class InvalidNameError(CelldropError):
    """The object name is not valid in the store, or would lead out of its bucket."""

    code = "INVALID_NAME"


class ObjectRefusedError(CelldropError):
    """The store permanently refuses to return the object, because of its key, its name or its bucket's settings."""

    code = "OBJECT_REFUSED"


class CorruptBlobError(CelldropError):
    """The bytes do not match their recorded checksum."""

    code = "BLOB_CORRUPT"


class DiskFullError(CelldropError):
    """The results do not fit on their disk."""

    code = "DISK_FULL"
    retryable = True


class UnavailableError(CelldropError):
    """A service did not answer, or reported that it is busy."""

    code = "UNAVAILABLE"
    retryable = True


class UnreadableRecordError(CelldropError):
    """A stored record cannot be read: a newer version of celldrop wrote it, or it is damaged. It is left as it is."""

    code = "RECORD_UNREADABLE"
    retryable = True


class AccessDeniedError(CelldropError):
    """A service denied access. It is retried, as a new grant takes minutes to reach every server."""

    code = "ACCESS_DENIED"
    retryable = True
