"""The thread that makes one world's frames, at most `fps` a second, still while nobody watches.

It reports each frame as it is packed for those who watch, and does not know who they are nor in which process.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from elsewhere.live.controls import ControlTrack
from elsewhere.live.frame import Controls, Frame
from elsewhere.live.ladder import Ladder, Rung, quality_rungs
from elsewhere.live.options import Options
from elsewhere.scene.description import Event
from elsewhere.server.codecs import encode_jpeg
from elsewhere.server.pace import Pace
from elsewhere.server.studio import Studio
from elsewhere.server.watcher import Parcel, Stream


class Running(Protocol):
    """A session: anything that makes frames."""

    def frame(self, controls: Controls | None = None, *, skip: int = 0) -> Frame: ...


@runtime_checkable
class Adjustable(Protocol):
    """A session whose quality can change while it runs."""

    def can_show(self, steps: int, width: int, height: int) -> bool: ...

    def adjust(self, steps: int, width: int, height: int) -> None: ...


@runtime_checkable
class Manifold(Protocol):
    """A session that can look at the state of its last frame with other cameras too."""

    def look_again(self, view: int, controls: Controls) -> Frame: ...

    def keep_views(self, views: frozenset[int]) -> None: ...


@runtime_checkable
class Eventful(Protocol):
    """A session in which something can be made to happen, and which can go on where another one stopped."""

    def apply(self, event: Event) -> Event: ...

    def resume(self, number: int, events: tuple[Event, ...], progress: Callable[[float], None]) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """One frame of camera `view`, packed for each stream that someone watches.

    `ready` is when it was painted, in milliseconds of the clock; `late` counts the frames left out for want of time
    since the runner began; `fallen` the steps of quality below what was asked for; `busy` is the share of its period
    that the last frame took, with all cameras and encoders."""

    frame_id: int
    tick: int
    ready: float
    late: int
    quality: Rung
    fallen: int
    busy: float
    parcels: tuple[tuple[Stream, Parcel], ...]
    view: int = 0


@dataclass(frozen=True, slots=True)
class Happened:
    """`event` came to pass at its tick; a world that is replayed needs it."""

    event: Event


@dataclass(frozen=True, slots=True)
class Refused:
    """What someone wanted to happen cannot."""

    reason: str


@dataclass(frozen=True, slots=True)
class Replaying:
    """How much of the way to where the world stood is done, 0 to 1."""

    share: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The world came to its end."""

    reason: str


Report = Batch | Happened | Refused | Replaying | Failed


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Where a world begins: at its first frame, or where it stood when its last runner died."""

    number: int = 0
    events: tuple[Event, ...] = ()


class Runner:
    """Frames of `open_session()`, reported by `report` from its own thread. Methods are for any other thread."""

    def __init__(
        self,
        open_session: Callable[[], Running],
        options: Options,
        report: Callable[[Report], None],
        *,
        bars: bool = False,
        start: Start | None = None,
    ) -> None:
        self._open, self._options, self._report, self._bars = open_session, options, report, bars
        self._start = start or Start()
        self._controls: defaultdict[int, ControlTrack] = defaultdict(ControlTrack)
        self._demand: Mapping[Stream, bool] = {}
        self._events: list[Event] = []
        self._latest: Frame | None = None
        self._late = 0
        self._busy = 0.0
        self._watched, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="world", daemon=True)
        self._thread.start()

    def demand(self, streams: Mapping[Stream, bool]) -> None:
        """What to encode from the next frame on; True asks for a key frame."""
        self._demand = dict(streams)

    def watch(self, watched: bool) -> None:
        """Whether time goes on."""
        if watched:
            self._watched.set()
        elif not self._stopped.is_set():
            self._watched.clear()

    def look(self, controls: Controls, tick: int = 0, view: int = 0) -> None:
        """`controls` of camera `view` hold from `tick` on; what names a tick that has passed holds from the next frame
        on."""
        self._controls[view].put(controls, tick)

    def apply(self, event: Event) -> None:
        """Lets `event` happen before the next frame; reports it with the tick at which it did."""
        self._events.append(event)

    def preview(self) -> bytes | None:
        """The last frame as JPEG."""
        frame = self._latest
        return None if frame is None else encode_jpeg(frame.rgb)

    def stop(self) -> None:
        """Lets the thread end after its frame."""
        self._stopped.set()
        self._watched.set()

    def wait(self, seconds: float) -> None:
        """Waits for the thread's end."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self._play(self._open())
        except Exception as failure:  # one world's failure must not reach the others
            self._tell(Failed(f"{type(failure).__name__}: {failure}"))

    def _tell(self, report: Report) -> None:
        if not self._stopped.is_set():
            self._report(report)

    def _play(self, session: Running) -> None:
        options = self._options
        pace = Pace(options.fps)
        studio = Studio(options.fps, bars=self._bars)
        adjusting = session if isinstance(session, Adjustable) else None

        def can_show(rung: Rung) -> bool:
            return adjusting is None or adjusting.can_show(rung.steps, rung.width, rung.height)

        ladder = Ladder(quality_rungs(options, adjustable=adjusting is not None), 1.0 / options.fps, can_show)
        if self._start.number and isinstance(session, Eventful):
            session.resume(self._start.number, self._start.events, lambda share: self._tell(Replaying(share)))
        shown, skip = self._make_frame(session, studio, self._start.number, ladder), 0
        pace.begin(shown, time.monotonic())
        while not self._stopped.is_set():
            if not self._watched.is_set():
                self._watched.wait()
                ladder.rest()
                pace.begin(shown, time.monotonic())
            self._stopped.wait(pace.wait(time.monotonic()))
            self._let_happen(session)
            following = shown + 1 + skip
            start = time.monotonic()
            late = pace.skip(start)
            self._late += late
            skip = late + ladder.rung.every - 1
            shown = self._make_frame(session, studio, following, ladder, skip)
            pace.show(shown, skip)
            if ladder.observe(time.monotonic() - start, time.monotonic()) and adjusting is not None:
                adjusting.adjust(ladder.rung.steps, ladder.rung.width, ladder.rung.height)

    def _let_happen(self, session: Running) -> None:
        while self._events:
            event = self._events.pop(0)
            if not isinstance(session, Eventful):
                continue
            try:
                self._tell(Happened(session.apply(event)))
            except ValueError as error:
                self._tell(Refused(str(error)))

    def _make_frame(self, session: Running, studio: Studio, number: int, ladder: Ladder, skip: int = 0) -> int:
        """Makes and reports frame `number`; its number. `skip` frames are left out after it."""
        start, tick, demand = time.monotonic(), self._options.tick_of(number), self._demand
        frame = session.frame(self._controls[0].at(tick), skip=skip)
        self._latest = frame
        self._pack(frame, 0, studio, demand, ladder)
        if isinstance(session, Manifold):
            views = frozenset(stream.view for stream in demand) - {0}
            session.keep_views(views)
            for view in sorted(views):
                self._pack(session.look_again(view, self._controls[view].at(tick)), view, studio, demand, ladder)
        self._busy = (time.monotonic() - start) * self._options.fps / ladder.rung.every
        return frame.frame_id

    def _pack(self, frame: Frame, view: int, studio: Studio, demand: Mapping[Stream, bool], ladder: Ladder) -> None:
        ready = 1e3 * time.monotonic()
        parcels = tuple(studio.encode(frame, demand, view))
        self._tell(
            Batch(
                frame_id=frame.frame_id,
                tick=frame.tick,
                ready=ready,
                late=self._late,
                quality=ladder.rung,
                fallen=ladder.fallen,
                busy=self._busy,
                parcels=parcels,
                view=view,
            )
        )
