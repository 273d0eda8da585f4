"""The base of errors whose message is for the user of a command. It imports nothing: commands need it at once."""

from __future__ import annotations


class ModelsError(Exception):
    """Something that was asked for cannot be done, and why."""
