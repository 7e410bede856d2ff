"""Bar charts as SVG: one per direction and circumstance, a panel per workload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.peers.registry import FLOOR, OURS
from benchmarks.report import Results
from benchmarks.summary import Place, Spread, Standing, ratios, standings

_WIDTH = 760
_LEFT = 130
_RIGHT = 190
_TOP = 62
_BAR = 18
_STEP = 26
_TITLE = 34
_GAP = 18

# Readable on a white page and on a dark one; the card follows what the reader's system prefers.
_STYLE = """
.card{fill:#ffffff;stroke:#d0d7de}.ink{fill:#1f2328}.soft{fill:#59636e}.bar{fill:#afb8c1}
.ours{fill:#0969da}.floor{fill:#d8dee4}.line{stroke:#57606a}.axis{stroke:#d0d7de}
text{font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,"DejaVu Sans",sans-serif;font-size:13px}
.title{font-size:17px;font-weight:600}.head{font-weight:600}.small{font-size:12px}
@media (prefers-color-scheme:dark){
.card{fill:#0d1117;stroke:#3d444d}.ink{fill:#f0f6fc}.soft{fill:#9198a1}.bar{fill:#59636e}
.ours{fill:#4493f8}.floor{fill:#343b44}.line{stroke:#c9d1d9}.axis{stroke:#3d444d}}
"""


@dataclass(slots=True)
class _Canvas:
    """Shapes, and how far down they reach."""

    shapes: list[str] = field(default_factory=list)
    y: float = _TOP

    def text(self, x: float, y: float, words: str, kind: str, anchor: str = "start") -> None:
        self.shapes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def bar(self, x: float, y: float, width: float, kind: str) -> None:
        self.shapes.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{_BAR}" rx="2" '
            f'class="{kind}"/>'
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        self.shapes.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'
        )


def draw(results: Results, folder: Path, stem: str) -> list[Path]:
    """Write the charts; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, title, panels in _charts(results):
        path = folder / f"{stem}-{name}.svg"
        path.write_text(render(results, title, panels))
        written.append(path)
    return written


def _charts(results: Results) -> Iterator[tuple[str, str, list[list[Standing]]]]:
    """File name, title and the standings of each workload."""
    groups: dict[tuple[str, int, float], dict[Place, list[Standing]]] = {}
    for standing in standings(results.outcomes):
        place = standing.place
        chart = groups.setdefault((place.direction, place.rtt_ms, place.failing_percent), {})
        chart.setdefault(place, []).append(standing)
    for (direction, rtt_ms, failing), panels in groups.items():
        name, words = f"{direction}-{rtt_ms}ms", f"{rtt_ms} ms round trip"
        if failing:
            name, words = f"{direction}-failing", f"{failing:g} % of requests fail"
        elif rtt_ms == 0:
            words = "no added delay"
        yield name, f"{direction.capitalize()}, {words}", list(panels.values())


def render(results: Results, title: str, panels: Sequence[Sequence[Standing]]) -> str:
    """One chart as SVG text."""
    canvas = _Canvas()
    canvas.text(20, 30, title, "ink title")
    canvas.text(
        20,
        49,
        "seconds, lower is better; bar: median, line: fastest to slowest run; "
        f"x: multiples of {results.subject}",
        "soft small",
    )
    for panel in panels:
        _draw_panel(canvas, results, panel)
    height = canvas.y + 22
    canvas.text(20, height - 12, _footer(results), "soft small")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" '
        f'width="{_WIDTH}" height="{height:.0f}" role="img" aria-label={_quoted(title)}>'
        f"<style>{_STYLE}</style>"
        f'<rect x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1:.0f}" rx="6" class="card"/>'
        + "".join(canvas.shapes)
        + "</svg>\n"
    )


def _draw_panel(canvas: _Canvas, results: Results, panel: Sequence[Standing]) -> None:
    workload = results.workloads[panel[0].place.workload]
    canvas.text(20, canvas.y + 20, workload.title, "ink head")
    canvas.y += _TITLE
    longest = max((one.wall_seconds.most for one in panel if one.wall_seconds), default=1.0)
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    top = canvas.y
    for standing in sorted(panel, key=_order):
        ratio = ratios(
            results.outcomes,
            standing.place,
            results.subject,
            standing.peer,
            lambda outcome: outcome.wall_seconds,
        )
        _draw_bar(canvas, standing, ratio, scale)
    canvas.line(_LEFT, top - 3, _LEFT, canvas.y - _STEP + _BAR + 3, "axis")
    canvas.y += _GAP


def _order(standing: Standing) -> tuple[bool, float]:
    """Fastest first, the floor last."""
    wall = standing.wall_seconds
    return standing.peer == FLOOR, wall.median if wall else float("inf")


def _draw_bar(canvas: _Canvas, standing: Standing, ratio: Spread | None, scale: float) -> None:
    y, middle = canvas.y, canvas.y + _BAR / 2
    ours = standing.peer == OURS
    canvas.text(_LEFT - 10, y + 14, standing.peer, "ink head" if ours else "ink", "end")
    canvas.y += _STEP
    wall = standing.wall_seconds
    if wall is None:
        canvas.text(_LEFT + 8, y + 14, "did not complete", "soft")
        return
    kind = "ours" if ours else "floor" if standing.peer == FLOOR else "bar"
    canvas.bar(_LEFT, y, wall.median * scale, kind)
    if standing.counted > 1:
        canvas.line(_LEFT + wall.least * scale, middle, _LEFT + wall.most * scale, middle, "line")
    words = f"{wall.median:.3g} s"
    if ratio and standing.peer not in (OURS, FLOOR):
        words += f" · {ratio.median:.2f}x"
    canvas.text(_LEFT + wall.most * scale + 8, y + 14, words, "ink head" if ours else "soft")


def _footer(results: Results) -> str:
    about = results.about
    return (
        f"{str(about['date'])[:10]}, {about['processors']} processors ({about['processor']}), "
        f"{about['memory_gib']} GiB, {about['system']}"
    )


def _quoted(text: str) -> str:
    return '"' + escape(text, {'"': "&quot;"}) + '"'
