"""What an inspection also reads since somebody will read it outside the confined child."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.geometry import Rows


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be read outside: nothing, where none of it is told.

    Attributes:
        rows: The cells of a task.
        elsewhere: Whether it also reads cells elsewhere in the file, for its embedding.
        merge: Whether it is a merge, which copies the file and adds columns.
        columns: Obs columns that are named as groups of cells.
        recognise: Whether a column with labels is looked for, too.
    """

    rows: Rows | None = None
    merge: bool = False
    columns: tuple[str, ...] = ()
    recognise: bool = False
    elsewhere: bool = False

    @property
    def judged(self) -> bool:
        """Whether a verdict on the file stands, so that what its values are is not looked at again."""
        return self.rows is not None or self.merge
