"""Every situation a caller can act on, each with a stable code."""

from __future__ import annotations

from typing import ClassVar

from shared.domain.words import shortened

MOST_FOUND, MOST_ELSE = 500, 300
"""Characters of what was found, and of what was expected, where and what to do: a file's own words may be megabytes."""


class CelldropError(Exception):
    """Base of all our errors: what was found, what was expected, where, and what to do.

    Attributes:
        code: Stable, documented in docs/reference/errors.md, never reused.
        retryable: Whether the same call may succeed later with nothing changed by the caller.
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
        return _rebuild, (type(self), self.found, self.expected, self.where, self.hint)

    @property
    def message(self) -> str:
        """One sentence or two: found, expected, where."""
        text = self.found.removesuffix(".")
        if self.where:
            text += f" ({self.where})"
        if self.expected:
            text += f"; expected {self.expected.removesuffix('.')}"
        return text + "."


def _rebuild(kind: type[CelldropError], found: str, expected: str, where: str, hint: str) -> CelldropError:
    return kind(found, expected=expected, where=where, hint=hint)


class InternalError(CelldropError):
    """A fault of ours: an invariant did not hold."""


# --- The input cannot be used: recorded as REJECTED or FAILED, and acknowledged ---------------------------------


class InputError(CelldropError):
    """The input, as it stands, cannot be annotated; sending it again will not help."""

    code = "INPUT_UNUSABLE"


class InputNotFoundError(InputError):
    """The named object does not exist."""

    code = "INPUT_NOT_FOUND"


class InputChangedError(InputError):
    """The pinned generation can no longer be read."""

    code = "INPUT_CHANGED"


class NotHdf5Error(InputError):
    """Not an HDF5 file but something else (R, CSV, zarr, an archive, a web page), or a folder."""

    code = "NOT_HDF5"


class TruncatedFileError(InputError):
    """An HDF5 file that ends before its own contents do, or whose contents cannot be decoded."""

    code = "FILE_DAMAGED"


class UnsafeFileError(InputError):
    """The file uses an HDF5 feature that could reach outside it, or claims sizes that it cannot hold."""

    code = "FILE_UNSAFE"


class NotAnnDataError(InputError):
    """HDF5, but neither an AnnData nor a 10x layout."""

    code = "NOT_ANNDATA"


class NoMatrixError(InputError):
    """No matrix in the file holds counts or log-normalised values."""

    code = "NO_USABLE_MATRIX"


class BadValuesError(InputError):
    """NaN, infinite or negative values where counts or log-normalised values were expected."""

    code = "BAD_VALUES"


class DuplicateCellsError(InputError):
    """Cell ids are not unique, so that results could not be joined back."""

    code = "DUPLICATE_CELLS"


class EmptyMatrixError(InputError):
    """No cells or no genes."""

    code = "EMPTY_MATRIX"


class NoGeneOverlapError(InputError):
    """Too few of the model's genes are in the file."""

    code = "GENES_DO_NOT_MATCH"


class NotGenesError(InputError):
    """The matrix holds no gene expression: every feature is a peak, an antibody or something else that is no gene."""

    code = "NOT_GENE_EXPRESSION"


class WrongSpeciesError(InputError):
    """The file's species is not the model's."""

    code = "WRONG_SPECIES"


class InputTooLargeError(InputError):
    """Past a limit that was set for this deployment."""

    code = "INPUT_TOO_LARGE"


# --- The request cannot be used ----------------------------------------------------------------------------------


class InvalidOptionError(CelldropError):
    """An option that is unknown or out of range."""

    code = "INVALID_OPTION"


class ModelNotFoundError(CelldropError):
    """No bundle of that name, version or digest."""

    code = "MODEL_NOT_FOUND"


class ModelExistsError(CelldropError):
    """A bundle of that name and version is there already, and versions never change."""

    code = "MODEL_EXISTS"


class InvalidBundleError(CelldropError):
    """A bundle whose card or weights break the format."""

    code = "INVALID_BUNDLE"


class UnsafeModelError(CelldropError):
    """A foreign model file that asks for more than plain data on loading."""

    code = "MODEL_UNSAFE"


class UnsupportedModelError(CelldropError):
    """A foreign model file of a kind that no importer knows."""

    code = "MODEL_UNSUPPORTED"


class TrainingDataError(CelldropError):
    """Labelled data from which no model can be trained."""

    code = "TRAINING_DATA_UNUSABLE"


class SubmissionNotFoundError(CelldropError):
    """No submission of that id."""

    code = "SUBMISSION_NOT_FOUND"


class ResultNotReadyError(CelldropError):
    """The submission has no committed result: it is not over yet, or ended without one."""

    code = "RESULT_NOT_READY"


class ResultFileNotFoundError(CelldropError):
    """The committed result has no file of that name."""

    code = "RESULT_FILE_NOT_FOUND"


class InvalidMessageError(CelldropError):
    """An event or message that cannot be parsed: acknowledged and logged, never redelivered."""

    code = "INVALID_MESSAGE"


class UnknownVersionError(InvalidMessageError):
    """A message of a schema version that this code does not know: refused, so that it ends in the dead-letter topic."""

    code = "UNKNOWN_SCHEMA_VERSION"


class BucketNotAllowedError(CelldropError):
    """A request for an object in a bucket that this deployment does not take files from."""

    code = "BUCKET_NOT_ALLOWED"


class NotAuthenticatedError(CelldropError):
    """No identity token, or one that is not to be trusted."""

    code = "NOT_AUTHENTICATED"


class NotAllowedError(CelldropError):
    """A caller who is known, and may not do this."""

    code = "NOT_ALLOWED"


class IllegalTransitionError(CelldropError):
    """The state machine has no such arrow: the record moved on, and the caller's news is stale."""

    code = "ILLEGAL_TRANSITION"


class SettingsError(CelldropError):
    """A setting that is missing or malformed."""

    code = "INVALID_SETTING"


# --- Running ------------------------------------------------------------------------------------------------------


class AttemptsExhaustedError(CelldropError):
    """Every permitted attempt failed."""

    code = "ATTEMPTS_EXHAUSTED"


class TaskCrashedError(CelldropError):
    """A task, or whoever wrote the results, broke off twice at the same place: a fault of ours, met again each time."""

    code = "TASK_CRASHED"

    @classmethod
    def of(cls, who: str, crash: str, log: str) -> TaskCrashedError:
        """Who crashed, how and where, and the log that has the whole traceback."""
        hint = (
            f"Trying again would end the same way: please report it, with the task's log{f' ({log})' if log else ''}."
        )
        return cls(f"{who} crashed twice at the same place: {crash.removesuffix('.')}", hint=hint)


class DeviceUnavailableError(CelldropError):
    """A GPU was promised by the plan and is not there, or has no room for a single block of cells."""

    code = "GPU_UNAVAILABLE"


class NoCapacityError(CelldropError):
    """The platform has no room to start the work now."""

    code = "NO_CAPACITY"
    retryable = True


class StartRefusedError(CelldropError):
    """The platform does not start the work, though it has room: a right, the job or a part of it is amiss just now."""

    code = "START_REFUSED"
    retryable = True


class CapacityDeadlineError(CelldropError):
    """No capacity appeared before the deadline."""

    code = "CAPACITY_DEADLINE"


class StaleWorkerError(CelldropError):
    """This worker no longer holds the epoch, ownership or lease it works under; it must stop and touch nothing."""

    code = "STALE_WORKER"


class InterruptedRunError(CelldropError):
    """Whoever started the command stopped it; running it again goes on."""

    code = "INTERRUPTED"


# --- Stores and buses: raised by adapters --------------------------------------------------------------------------


class BlobNotFoundError(CelldropError):
    """No object of that name, or not at that generation."""

    code = "BLOB_NOT_FOUND"


class PreconditionFailedError(CelldropError):
    """A conditional write met another version than the one it named."""

    code = "PRECONDITION_FAILED"


class InvalidNameError(CelldropError):
    """An object name that the store cannot keep, or that would lead out of its bucket."""

    code = "INVALID_NAME"


class ObjectRefusedError(CelldropError):
    """The store does not give an object out, for its key, its name or its bucket's settings; asking again is vain."""

    code = "OBJECT_REFUSED"


class CorruptBlobError(CelldropError):
    """Bytes that do not have the checksum that was recorded for them."""

    code = "BLOB_CORRUPT"


class DiskFullError(CelldropError):
    """The disk of the results has less room than they take."""

    code = "DISK_FULL"
    retryable = True


class UnavailableError(CelldropError):
    """A service did not answer, or answered that it is busy."""

    code = "UNAVAILABLE"
    retryable = True


class AccessDeniedError(CelldropError):
    """A service does not permit what was asked of it; a grant takes minutes to be known everywhere."""

    code = "ACCESS_DENIED"
    retryable = True


def all_errors() -> tuple[type[CelldropError], ...]:
    """Every error of the domain, base first; the reference page is checked against it."""
    found: list[type[CelldropError]] = [CelldropError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return tuple(dict.fromkeys(found))
