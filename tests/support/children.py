"""Jobs in forked children: what they told, how they ended, killed at will."""

from __future__ import annotations

import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from typing import Any, NoReturn

import torch

Tell = Callable[[Any], None]
Job = Callable[[Tell], Any]

PATIENCE = 120.0  # seconds after which a child counts as hung; the jobs take less than one


@dataclass
class Ended:
    """How a child ended: by a signal, with a value, or with an error."""

    signal: int = 0
    code: int = 0
    told: list[Any] = field(default_factory=list)
    value: Any = None
    error: BaseException | None = None
    trace: str = ""

    @property
    def killed(self) -> bool:
        """True if it was ended by SIGKILL."""
        return self.signal == signal.SIGKILL

    def returned(self) -> Any:
        """The value of a job that must have ended by itself and without an error."""
        assert not self.signal, f"ended by signal {self.signal}, after telling {self.told}"
        assert self.error is None, self.trace
        assert self.code == 0
        return self.value


class Child:
    """A forked process that does one job; it never returns into the caller's code.

    A fork begins where its parent is, everything imported: a new interpreter would take
    seconds for torch alone. The job is called with `tell`, whose messages reach `wait` even
    from a child that is killed later.
    """

    def __init__(self, job: Job) -> None:
        self._receiver, sender = Pipe(duplex=False)
        with warnings.catch_warnings():
            # Python 3.12 warns of a parent's threads: the child uses none of their pools
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            self._receiver.close()
            _live(job, sender)
        sender.close()

    def kill(self) -> None:
        """End it as the kernel ends what has no memory left."""
        os.kill(self.pid, signal.SIGKILL)

    def kill_after(self, seconds: float) -> Ended:
        """Kill it this long after its job began, if it still runs."""
        self._receiver.poll(PATIENCE)  # the first message says that it begins
        time.sleep(seconds)
        self.kill()
        return self.wait()

    def hears(self, message: Any) -> None:
        """Wait until it told `message`; later messages are left for `wait`."""
        self._receiver.poll(PATIENCE)
        begun = self._receiver.recv()
        while begun != ("told", message):
            assert begun[0] in ("begun", "told"), begun
            assert self._receiver.poll(PATIENCE), f"it never told {message!r}"
            begun = self._receiver.recv()

    def wait(self) -> Ended:
        """How it ended; a child that hangs is killed and fails the test."""
        ended, alive = Ended(), True
        while alive:
            if not self._receiver.poll(PATIENCE):
                self.kill()
                os.waitpid(self.pid, 0)
                raise AssertionError(f"the child hung after telling {ended.told}")
            alive = self._take(ended)
        _, status = os.waitpid(self.pid, 0)
        ended.signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        ended.code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
        return ended

    def _take(self, ended: Ended) -> bool:
        """Note one message; False at the end of all, which a kill may tear."""
        try:
            kind, content = self._receiver.recv()
        except (EOFError, OSError):
            self._receiver.close()
            return False
        if kind == "told":
            ended.told.append(content)
        elif kind == "returned":
            ended.value = content
        elif kind == "raised":
            ended.error, ended.trace = content
        return True


def _live(job: Job, sender: Connection) -> NoReturn:
    """The whole life of a child."""
    code = 1
    try:
        torch.set_num_threads(1)  # a pool of threads is not forked, and would be waited for
        sender.send(("begun", None))
        value = job(lambda message: sender.send(("told", message)))
        sender.send(("returned", value))
        code = 0
    except BaseException as error:
        sender.send(("raised", (error, traceback.format_exc())))
    finally:
        os._exit(code)


def run(job: Job) -> Ended:
    """Do a job in a child and wait for its end."""
    return Child(job).wait()


def together(*jobs: Job) -> list[Ended]:
    """Do jobs in children at once; all begin when the last is there."""
    gate_reader, gate_writer = os.pipe()

    def waiting(job: Job) -> Job:
        def begin(tell: Tell) -> Any:
            os.close(gate_writer)
            os.read(gate_reader, 1)  # returns when the last writer closes
            return job(tell)

        return begin

    children = [Child(waiting(job)) for job in jobs]
    os.close(gate_reader)
    os.close(gate_writer)
    return [child.wait() for child in children]
