"""Reports: Markdown for people, JSON for the dashboard, figures beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tidegate_models.artifact import write_json

REPORT_FORMAT = "tidegate.model_report.v1"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def write(folder: Path, name: str, sections: Sequence[str], metrics: dict[str, Any], history: dict[str, Any]) -> None:
    """Writes README.md, metrics.json and history.json of a model's report."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("\n\n".join(section.strip() for section in sections) + "\n", encoding="utf-8")
    write_json(folder / "metrics.json", {"format": REPORT_FORMAT, "model": name, **metrics})
    write_json(folder / "history.json", {"format": REPORT_FORMAT, "model": name, **history})


def rounded(value: Any, digits: int = 6) -> Any:
    """The same structure with floats cut to what is worth reading; NaN becomes null."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {str(key): rounded(entry, digits) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(entry, digits) for entry in value]
    return value
