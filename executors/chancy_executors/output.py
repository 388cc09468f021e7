"""What children print: passed on as it comes, and the end of it kept for each attempt."""

import os
import select
import threading
from collections import deque
from contextlib import suppress

from anyio import to_thread

from chancy_core.codec import clean

#: What a pipe holds, in bytes: nothing that was written before a read is left by it.
_CHUNK = 65_536
#: How many chunks are read at a time of what somebody goes on writing.
_MOST = 16
#: How many chunks wait for a stderr that takes none; the oldest are dropped.
_BACKLOG = 64
#: Seconds in which what is left to be passed on must be, when an executor closes.
_LEAVE = 5.0
_STDERR = 2


class Relay:
    """Passes on to this process's stderr what the children of one executor print.

    It does so in a thread, since whoever reads there may take his time.
    """

    def __init__(self, keep: int) -> None:
        """Of what each child prints, the last *keep* bytes are kept."""
        #: Whoever reads, or closes, one of the outputs holds it.
        self.lock = threading.Lock()
        self.keep = keep
        #: Those that can be read, by the number of their pipe.
        self.outputs: dict[int, Output] = {}
        self._unsaid: deque[bytes] = deque(maxlen=_BACKLOG)
        self._thread: threading.Thread | None = None
        self._closing = False

    def open(self) -> tuple["Output", int]:
        """Return an output, and the end of its pipe that is a child's stderr.

        That end is to be closed here as soon as the child has it.
        """
        if self._thread is None:
            self._start()
        pipe, end = os.pipe()
        os.set_blocking(pipe, False)
        output = Output(self, pipe)
        with self.lock:
            self.outputs[pipe] = output
        self.wake()
        return output, end

    def _start(self) -> None:
        self._ear, self._mouth = os.pipe()
        for end in (self._ear, self._mouth):
            os.set_blocking(end, False)
        self._thread = threading.Thread(target=self._run, name="chancy-output", daemon=True)
        self._thread.start()

    def pass_on(self, data: bytes) -> None:
        """Have the thread write this to stderr, once it is woken."""
        self._unsaid.append(data)

    def wake(self) -> None:
        """Have the thread look what there is."""
        with suppress(BlockingIOError):  # then it has been woken often enough
            os.write(self._mouth, b"\0")

    def _run(self) -> None:
        closing = False
        while not closing:
            poll = select.poll()
            with self.lock:
                for pipe in (self._ear, *self.outputs):
                    poll.register(pipe, select.POLLIN)
            for pipe, _ in poll.poll():
                with self.lock:  # a pipe that was closed meanwhile is not there
                    if pipe in self.outputs:
                        self.outputs[pipe].read()
                    elif pipe == self._ear:
                        os.read(self._ear, _CHUNK)
            closing = self._closing  # before the last look, so that nothing comes after it
            while self._unsaid:
                _say(self._unsaid.popleft())

    async def aclose(self) -> None:
        """Pass on what is left, and end the thread; all outputs are closed by now."""
        if self._thread is None:
            return
        self._closing = True
        self.wake()
        await to_thread.run_sync(self._thread.join, _LEAVE)
        os.close(self._ear)
        os.close(self._mouth)


class Output:
    """What one child prints, and the processes that it starts: to stdout and stderr alike."""

    def __init__(self, relay: Relay, pipe: int) -> None:
        self._relay = relay
        self._pipe: int | None = pipe
        self._kept = bytearray()
        self._cut = False

    def begin(self) -> None:
        """Forget what has been printed so far: it is none of the next attempt's."""
        with self._relay.lock:
            self._read_all()
            self._kept.clear()
            self._cut = False

    def text(self) -> str | None:
        """Return the end of what has been printed since `begin`, as it can be stored, if any."""
        keep = self._relay.keep
        with self._relay.lock:
            self._read_all()
            said, cut = self._kept.decode(errors="replace"), self._cut
        if cut:
            said = f"[only the last {keep:,} bytes]\n{said}"
        return clean(said, keep + 100) or None

    def close(self) -> None:
        """Read what is there, and no more, whoever may still have the other end."""
        with self._relay.lock:
            self._read_all()
            self._shut()

    def _read_all(self) -> None:
        some = False
        for _ in range(_MOST):
            if not self.read():
                break
            some = True
        if some:
            self._relay.wake()

    def read(self) -> bool:
        """Read what there is, with the relay's lock held; False says that there was nothing."""
        if self._pipe is None:
            return False
        try:
            data = os.read(self._pipe, _CHUNK)
        except BlockingIOError:
            return False
        if not data:  # nobody has the other end any more
            self._shut()
            return False
        self._kept += data
        if len(self._kept) > self._relay.keep:
            del self._kept[: -self._relay.keep]
            self._cut = True
        self._relay.pass_on(data)
        return True

    def _shut(self) -> None:
        if self._pipe is not None:
            del self._relay.outputs[self._pipe]
            os.close(self._pipe)
            self._pipe = None


def _say(data: bytes) -> None:
    with suppress(OSError):  # where nobody listens any more, nobody can be told
        while data:
            data = data[os.write(_STDERR, data) :]
