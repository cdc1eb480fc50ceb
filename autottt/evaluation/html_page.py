"""One HTML page with its pictures inside, to read without a network."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;"
    "color:#222}table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .7rem;"
    "border-bottom:1px solid #ddd;text-align:right}td:first-child,th:first-child{text-align:left}"
    "svg{max-width:100%;height:auto}small{color:#666}"
)


def page(title: str, parts: Sequence[str]) -> str:
    """A whole document; the parts are HTML."""
    body = "\n".join([f"<h1>{html.escape(title)}</h1>", *parts])
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>"
    )


def table(head: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    """An HTML table of texts and numbers, escaped."""

    def line(cells: Iterable[object], tag: str) -> str:
        return "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells)

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{line(head, 'th')}</tr></thead><tbody>{body}</tbody></table>"


def number(value: float | None) -> str:
    """Three places, or a dash for what is not known."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def picture(draw: Callable[[Sequence[Any]], None], panels: int) -> str:
    """An SVG of that many matplotlib axes, at most four in a row."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    across = min(panels, 4)
    down = -(-panels // across)
    figure, axes = pyplot.subplots(
        down, across, squeeze=False, figsize=(max(6.0, 2.8 * across), max(2.8 * down, 3.5))
    )
    draw([axis for row in axes for axis in row])
    figure.tight_layout()
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def reliability(axis: Any, rows: Sequence[tuple[float, float, int]], title: str) -> None:
    """Draw mean probability against the share that is true; `rows` as of `heads_report.scores`."""
    axis.plot([0, 1], [0, 1], color="0.8", lw=1)
    means, shares, sizes = zip(*rows, strict=True)
    axis.scatter(means, shares, s=[8 + 60 * n / max(sizes) for n in sizes])
    axis.set_title(title, fontsize=8)
    axis.set_xlabel("predicted", fontsize=7)
