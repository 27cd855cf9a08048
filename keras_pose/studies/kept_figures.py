"""The figures of finished runs in one small file, so that a study can continue without the runs' folders."""

import json
from pathlib import Path

from keras_pose.core.errors import UserError
from keras_pose.flags import resolve
from keras_pose.io import atomic

NOT_THE_ROWS = ("--seed=", "--precision=")  # differ between runs of a row, and between machines with --precision=auto


class KeptFigures:
    """Figures by row and seed, with the flags of each row; stored after every change.

    The file is JSON: `{ROW: {"flags": [FLAG, ...], "seeds": {SEED: {FIGURE: value}}}}`, with figures as in
    `study.COLUMNS`. Without a path nothing is kept.

    Raises:
        UserError: the file is not of that form.
    """

    def __init__(self, path: str | Path | None):
        self._path = path and Path(path)
        self._rows = _read(self._path) if self._path and self._path.exists() else {}

    def get(self, row: str, seed: int, flags: str) -> dict[str, float] | None:
        """The figures of a run, None if they are not kept; raises UserError if the run had flags other than `flags`.

        `flags` are resolved ones (`keras_pose.flags.resolve`); seed and precision may differ. The kept flags are
        resolved anew, so flags added since then do not count unless they are used.
        """
        kept = self._rows.get(row)
        if kept is None:
            return None
        if _of_row(resolve(kept["flags"])) != _of_row(flags):
            raise UserError(f"{self._path} holds {row} trained with other flags; name another file, or delete this one")
        return kept["seeds"].get(str(seed))

    def put(self, row: str, seed: int, flags: str, figures: dict[str, float]) -> None:
        """Keeps the figures of a finished run, whose row has the flags of `get` or none yet."""
        if self._path is None or self.get(row, seed, flags) == figures:
            return
        self._rows.setdefault(row, {"flags": _of_row(flags), "seeds": {}})["seeds"][str(seed)] = figures
        atomic.write_json(self._path, self._rows)


def _of_row(flags: str) -> list[str]:
    return [line for line in flags.splitlines() if line.startswith("--") and not line.startswith(NOT_THE_ROWS)]


def _read(path: Path) -> dict:
    try:
        rows = json.loads(path.read_text())
        for row in rows.values():
            flags, seeds = row["flags"], row["seeds"]
            if not all(isinstance(flag, str) for flag in flags):
                raise ValueError
            for figures in seeds.values():
                if not all(isinstance(value, (int, float)) for value in figures.values()):
                    raise ValueError
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} does not hold figures of runs; name another file, or delete it") from None
    return rows
