"""What a probability of a signal is one of. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Label:
    """A trade that is entered at the signal has earned so much, after fees, before its timer ends."""

    # What must be earned, bp.
    target_bp: float = 10.0
    # Fee of each side, bp of its value.
    fee_bp: float = 5.0
    # Length of the timer.
    timer_minutes: int = 10

    def to_json(self) -> dict[str, Any]:
        """As it stands in a contract."""
        return asdict(self)

    def __str__(self) -> str:
        after = f"after fees of {self.fee_bp:g} bp a side"
        return f"{self.target_bp:g} bp {after}, in timers of {self.timer_minutes} minutes"
