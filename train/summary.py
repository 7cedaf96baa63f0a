"""What a finished run has to show: at the terminal, as `summary.json`, and as one HTML page that opens anywhere."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from train.goldfish import Variant
from train.recipe import Recipe

_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Summary:
    """What a finished run has to show; also written as `summary.json`.

    Attributes:
        steps: optimizer steps taken in all.
        resumed_from: step at which this start took up the run, 0 for a new one.
        parameters: of the model.
        first_loss, last_loss: training loss of the first and the last step, nats per kept target.
        validation_loss: on held-out documents, without mask; None when none are held out.
        losses: training loss of each step.
        supervised, dropped: targets trained on, and left out by the Goldfish mask.
        tokens_per_second: median over this start's steps, None when it took none.
        wait: share of this start's time that steps waited for their batches, None when it took none.
        mfu: share of the GPUs' peak that the median step used, None on a CPU.
        corpus_root: Merkle root of the corpus.
        sample: text that the model wrote.
        checkpoint, export, metrics, report: where the results lie.
    """

    steps: int
    resumed_from: int
    parameters: int
    first_loss: float
    last_loss: float
    validation_loss: float | None
    losses: list[float]
    supervised: int
    dropped: int
    tokens_per_second: float | None
    wait: float | None
    mfu: float | None
    corpus_root: str
    sample: str
    checkpoint: str
    export: str
    metrics: str
    report: str

    @property
    def drop_rate(self) -> float:
        """Share of the targets that the Goldfish mask left out."""
        return self.dropped / max(self.supervised + self.dropped, 1)


def print_summary(summary: Summary, recipe: Recipe, console: Console) -> None:
    """The end of a run, for people: the loss curve, a table, a sample of text and where to look next."""
    console.print(f"\n[bold]loss[/bold], steps 1 to {summary.steps}")
    for line in loss_curve(summary.losses):
        console.print(line, highlight=False, markup=False)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # digests and paths must be copied whole
    for name, value in _figures(summary, recipe):
        table.add_row(name, value)
    console.print(table, highlight=False)
    console.print("\n[bold]the model writes[/bold]")
    console.print(escape(summary.sample.strip()) or "(nothing)", highlight=False)


def _figures(summary: Summary, recipe: Recipe) -> list[tuple[str, str]]:
    figures = [
        ("loss, first step", f"{summary.first_loss:.3f}"),
        ("loss, last step", f"{summary.last_loss:.3f}"),
    ]
    if summary.validation_loss is not None:
        figures.append(("loss, held-out documents", f"{summary.validation_loss:.3f}"))
    if recipe.goldfish.variant is Variant.OFF:
        figures.append(("goldfish", "off"))
    else:
        mask = recipe.goldfish
        nominal = f"{mask.variant}, k={mask.k}, h={mask.h}: {1 / mask.k:.2%} nominal"
        figures.append(("goldfish", f"{summary.drop_rate:.2%} of targets left out ({nominal})"))
    if summary.tokens_per_second is not None:
        figures.append(("speed", f"{summary.tokens_per_second:,.0f} tokens/s"))
    if summary.wait is not None:
        figures.append(("waiting for data", f"{summary.wait:.2%} of the time"))
    if summary.mfu is not None:
        figures.append(("MFU", f"{summary.mfu:.1%}"))
    figures.append(("corpus root", summary.corpus_root))
    return figures + [(name, getattr(summary, name)) for name in ("checkpoint", "export", "metrics", "report")]


def loss_curve(losses: Sequence[float], width: int = 64, height: int = 8) -> list[str]:
    """A plot in block characters, highest loss on top; each column is the mean of its steps."""
    if not losses:
        return []
    width = min(width, len(losses))
    edges = [round(column * len(losses) / width) for column in range(width + 1)]
    columns = [sum(losses[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(columns), max(columns)
    # the lowest column keeps one eighth of a block, so that it is seen
    eighths = [1 + round((value - low) / ((high - low) or 1) * (8 * height - 1)) for value in columns]
    lines = []
    for row in reversed(range(height)):
        label = f"{high:7.3f} " if row == height - 1 else f"{low:7.3f} " if row == 0 else " " * 8
        lines.append(label + "".join(_BLOCKS[min(max(level - 8 * row, 0), 8)] for level in eighths))
    return lines


def report_page(summary: Summary, recipe: Recipe) -> str:
    """The same as a page without scripts or links: curve, figures, text, and what the model was trained on."""
    rows = "".join(f"<tr><th>{html.escape(name)}<td>{html.escape(value)}" for name, value in _figures(summary, recipe))
    return _PAGE.format(
        title=f"Training, {summary.steps:,} steps",
        curve=line_chart({"loss": list(enumerate(summary.losses, start=1))}, "step", "loss, nats per kept target"),
        rows=rows,
        sample=html.escape(summary.sample.strip() or "(nothing)"),
    )


def line_chart(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    across: str,
    up: str,
    *,
    logarithmic: bool = False,
    low: float | None = None,
    high: float | None = None,
) -> str:
    """Lines as an SVG with axes and a legend.

    Args:
        lines: points of each, by name, ascending in x.
        across, up: what the axes count.
        logarithmic: whether x doubles rather than counts; x is then above zero.
        low, high: ends of the y axis; those of the points by default.
    """
    points = [point for line in lines.values() for point in line]
    if not points:
        return "<svg/>"
    place = math.log2 if logarithmic else float
    left, right = place(min(x for x, _ in points)), place(max(x for x, _ in points))
    bottom = min(y for _, y in points) if low is None else low
    top = max(y for _, y in points) if high is None else high

    def at(x: float, y: float) -> tuple[float, float]:
        across_share = (place(x) - left) / ((right - left) or 1)
        return 60 + 580 * across_share, 20 + 300 * (top - y) / ((top - bottom) or 1)

    parts = [f'<svg viewBox="0 0 860 370" role="img" aria-label="{html.escape(up)} by {html.escape(across)}">']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        value, y = bottom + share * (top - bottom), 320 - 300 * share
        parts.append(
            f'<path d="M60 {y}H640" class="grid"/><text x="54" y="{y + 4}" text-anchor="end">{value:.2f}</text>'
        )
    for x in _ticks(sorted({x for x, _ in points})):
        parts.append(f'<text x="{at(x, bottom)[0]:.1f}" y="338" text-anchor="middle">{x:g}</text>')
    for number, (name, line) in enumerate(lines.items()):
        color = _COLORS[number % len(_COLORS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in _thinned(line)))
        parts.append(f'<polyline points="{path}" stroke="{color}"/>')
        y = 30 + 18 * number
        parts.append(f'<path d="M660 {y}h24" stroke="{color}"/><text x="690" y="{y + 4}">{html.escape(name)}</text>')
    parts.append(f'<text x="350" y="362" text-anchor="middle">{html.escape(across)}</text>')
    parts.append(f'<text x="60" y="12">{html.escape(up)}</text></svg>')
    return "".join(parts)


_COLORS = ("#1b6ca8", "#c0392b", "#7f8c8d", "#e08e0b", "#2e8b57", "#7d3c98", "#16a2b8", "#555555")

STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse}
th,td{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top;overflow-wrap:anywhere}
svg{width:100%;font-size:12px}svg polyline,svg path{fill:none;stroke-width:2}svg .grid{stroke:#ddd;stroke-width:1}
pre{white-space:pre-wrap;background:#f5f5f5;padding:1rem}"""

_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>'
    + STYLE.replace("{", "{{").replace("}", "}}")
    + "</style><h1>{title}</h1>{curve}<table>{rows}</table><h2>The model writes</h2><pre>{sample}</pre></html>\n"
)


def _ticks(values: Sequence[float]) -> list[float]:
    if len(values) <= 12:
        return list(values)
    return [values[round(place * (len(values) - 1) / 6)] for place in range(7)]


def _thinned(line: Sequence[tuple[float, float]], most: int = 1000) -> list[tuple[float, float]]:
    """At most so many points, each the mean of its neighbours."""
    if len(line) <= most:
        return list(line)
    edges = [round(place * len(line) / most) for place in range(most + 1)]
    return [(line[a][0], sum(y for _, y in line[a:b]) / (b - a)) for a, b in itertools.pairwise(edges)]
