"""`autottt strategies`: what can answer a task here, and what should but does not load."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autottt.adapters.tasks.printable import printable


def strategies() -> None:
    """List the strategies, those of plug-ins included."""
    from autottt.strategies.registry import available, broken

    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("name", "trains", "summary"):
        table.add_column(heading)
    for name, strategy in available().items():
        trains = "yes" if strategy.trains else "no"
        table.add_row(Text(name, style="cyan"), trains, Text(printable(strategy.summary)))
    for name, reason in broken().items():
        table.add_row(Text(name, style="red"), "", Text(f"unavailable: {printable(reason)}"))
    console = Console()
    console.print(table)
    console.print(
        "Those that train answer by a vote; NAME+experts lets all views score the vote's answers, "
        "NAME+search searches for more of them, NAME+options scores every answer there may be.",
        style="dim",
        soft_wrap=True,
    )
