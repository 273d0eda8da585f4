"""`tidegate-models watch`: a process beside the engine that trains on outcomes as they come.

Lines of JSON on standard input and output: settings first, then a look at a time; see README.md. Nothing but events
goes to standard output, whatever a library prints. Heavy libraries are imported when it is known where they may run.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from tidegate_models import __version__
from tidegate_models.watch_settings import LineError, Look, Settings, look_of, settings_of

if TYPE_CHECKING:
    from tidegate_models.live import Watcher

BAD_SETTINGS = 2
_NICE = 10
# Trainings are to give the same twice, and to take no more than one core.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Places:
    """Where outcomes come from, where versions go to, and where what happens is written for people."""

    outcomes: Path
    out: Path
    log: Path
    name: str
    key: Path | None


class Channel:
    """Events to the engine, a line each, and the same to the log."""

    def __init__(self, protocol: TextIO, log: TextIO) -> None:
        self._protocol, self._log = protocol, log

    def say(self, event: str, **told: Any) -> None:
        """Tells the engine; a look that found nothing is not worth a line of the log."""
        self._protocol.write(json.dumps({"event": event, **told}, allow_nan=False) + "\n")
        self._protocol.flush()
        if event != "looked":
            self.note(f"{event}: {', '.join(f'{key} {_plain(value)}' for key, value in told.items())}")

    def note(self, text: str) -> None:
        """A line of the log alone."""
        moment = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        self._log.write(f"{moment}Z {text}\n")
        self._log.flush()


def _plain(value: Any) -> str:
    return "none" if value is None else str(value)


def run(places: Places, poll: float | None) -> int:
    """Watches until standard input ends, or with `poll` until it is told to stop; gives the exit code."""
    if poll is not None and not 0.0 < poll < float("inf"):
        raise ValueError(f"--poll is {poll}, expected seconds above 0")
    if poll is not None and not places.outcomes.is_dir():
        # An engine makes its folder before it starts this.
        raise ValueError(f"--outcomes {places.outcomes}: no such folder")
    places.log.parent.mkdir(parents=True, exist_ok=True)
    with _protocol() as protocol, places.log.open("a", encoding="utf-8") as log:
        channel = Channel(protocol, log)
        try:
            return _watch(places, poll, channel)
        except BrokenPipeError:
            channel.note("the engine has gone")
            # What is still buffered cannot be said to anybody.
            os.dup2(os.open(os.devnull, os.O_WRONLY), protocol.fileno())
            return 0


def _protocol() -> TextIO:
    """Standard output for events alone; what else is printed goes to standard error."""
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(own, "w", encoding="utf-8")


def _watch(places: Places, poll: float | None, channel: Channel) -> int:
    if poll is None:
        # An interrupt at a terminal goes to the engine too, which closes standard input when it is done.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        settings = Settings() if poll is not None else _settings()
        if settings is None:
            channel.note("standard input ended before there were settings")
            return 0
        restrain(settings.core)
    except LineError as error:
        channel.say("failed", text=str(error))
        return BAD_SETTINGS
    from tidegate_models.live import Watcher

    watcher = Watcher(settings, places.outcomes, places.out, places.name, places.key)
    channel.note(f"settings: {', '.join(f'{key} {_plain(value)}' for key, value in vars(settings).items())}")
    channel.say("ready", version=__version__, python=platform.python_version())
    if poll is not None:
        _by_itself(watcher, poll, channel)
    else:
        for line in sys.stdin:
            _answer(watcher, line, channel)
    channel.note("ended")
    return 0


def _settings() -> Settings | None:
    line = sys.stdin.readline()
    return settings_of(line) if line else None


def restrain(core: int | None) -> None:
    """One thread, behind everything else that wants its core; where one is named, on that core alone."""
    os.environ |= dict.fromkeys(_THREADS, "1")
    if core is not None and hasattr(os, "sched_setaffinity"):
        try:
            os.sched_setaffinity(0, {core})
        except OSError as error:
            raise LineError(f"settings.core: is {core}, which this process may not run on ({error})") from error
    os.nice(_NICE)


def _answer(watcher: Watcher, line: str, channel: Channel) -> None:
    if not line.strip():
        return
    try:
        look = look_of(line)
    except LineError as error:
        channel.say("failed", text=str(error))
        return
    _look(watcher, look, channel)


def _look(watcher: Watcher, look: Look, channel: Channel) -> None:
    try:
        for event in watcher.look(look):
            channel.say(**event)
    except BrokenPipeError:
        raise
    except Exception as error:  # whatever it is: the next look may go well, and the engine must hear of this one
        channel.say("failed", text=f"{type(error).__name__}: {error}")
    channel.say("looked", event_ns=look.event_ns)


def _by_itself(watcher: Watcher, seconds: float, channel: Channel) -> None:
    """Looks whenever labels have come, as of the newest of them, until it is interrupted or terminated."""
    from tidegate_models import repository

    signal.signal(signal.SIGTERM, _interrupt)
    last = None
    try:
        for _ in _ticks(seconds):
            for event in watcher.read():
                channel.say(**event)
            now = watcher.newest_ns()
            if now is None or now == last:
                continue
            last = now
            _look(watcher, Look(now, repository.in_force(watcher.root, watcher.name), busy=False), channel)
    except KeyboardInterrupt:
        return


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _ticks(seconds: float) -> Iterator[None]:
    while True:
        yield
        time.sleep(seconds)
