"""Prints tables: with lines on a terminal, as plain columns elsewhere."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 2000  # characters of a table that does not go to a terminal


def print_table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows under the names of their columns."""
    if not rows:
        print(f"no {columns[0]}")
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    console = Console(markup=False)
    if not console.is_terminal:
        console = Console(markup=False, width=PIPE_WIDTH)
        table.box, table.pad_edge = None, False
    console.print(table)
