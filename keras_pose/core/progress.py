"""Progress bars with rate and time left."""

import sys
from collections.abc import Iterable

from tqdm import tqdm


def progress(items: Iterable, total: int | None, unit: str, initial: int = 0, description: str = "") -> tqdm:
    """A progress bar with rate and time left; if stderr is not a terminal, it prints a line every ten seconds."""
    on_terminal = sys.stderr.isatty()
    return tqdm(
        items,
        total=total,
        initial=initial,
        unit=unit,
        desc=description or None,
        mininterval=0.2 if on_terminal else 10.0,
        maxinterval=60.0,
        dynamic_ncols=on_terminal,
    )
