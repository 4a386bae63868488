"""The pickles of CIFAR's python version, read without unpickling: no code in them can run.

``pickle`` builds whatever a file names by calling it. Here the file is taken for a list of
opcodes, which `pickletools` reads as data, and only those are admitted that the official files
contain: dictionaries, lists, tuples, byte strings, whole numbers, and the three names with which
numpy describes an array of uint8. The names are compared, never looked up; nothing is imported
or called.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape.data_store.errors import LandscapeError
from landscape.training.datasets import Bytes

_RECONSTRUCT = "numpy.core.multiarray _reconstruct"
_NDARRAY = "numpy ndarray"
_DTYPE = "numpy dtype"
_OPCODES = 2**20  # CIFAR-100 needs a quarter of it


@dataclass(frozen=True)
class _Name:
    """A name that the official files contain, standing for itself."""

    text: str


@dataclass(eq=False)
class _Array:
    """An array of bytes, empty until its state has come."""

    value: Bytes | None = None


_UINT8 = _Name("uint8")
_MARK = object()


def read_batch(content: bytes, what: str) -> dict[bytes, Any]:
    """The dictionary that an official python batch holds.

    Parameters
    ----------
    content
        The file, a pickle of protocol 2 made by Python 2.
    what
        Its name in errors.

    Returns
    -------
    batch
        By key: byte strings, lists of int or of byte strings, read-only uint8 arrays.

    Raises
    ------
    LandscapeError
        It names anything but the three names of a numpy array, has other opcodes than the
        official files, or is no whole pickle of a dictionary.
    """
    machine = _Machine(what)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(content))):
            if count >= _OPCODES:
                raise LandscapeError(f"{what} has more than {_OPCODES} opcodes; fetch it again")
            machine.take(opcode.name, argument)
        [batch] = machine.stack
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise LandscapeError(f"{what} is no whole pickle: {error}; fetch it again") from error
    if not isinstance(batch, dict):
        raise LandscapeError(f"{what} holds a {type(batch).__name__}; expected a dictionary")
    return {key: v.value if isinstance(v, _Array) else v for key, v in batch.items()}


class _Machine:
    """The stack and the memo of a pickle, for the admitted opcodes."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def take(self, opcode: str, argument: Any) -> None:
        """Do what one opcode says, or refuse it."""
        if opcode in _PUSH:
            # genops gives Python 2's strings as text
            text = isinstance(argument, str)
            self.stack.append(argument.encode("latin-1") if text else argument)
        elif opcode in _CONSTANT:
            self.stack.append(_CONSTANT[opcode]())
        elif opcode in _DO:
            _DO[opcode](self, argument)
        elif opcode not in _FRAME:
            raise LandscapeError(
                f"{self.what} has the pickle opcode {opcode}, which the official files do not "
                "contain; it may run code and is refused"
            )

    def name(self, text: str) -> None:
        """Push an admitted name."""
        if text not in (_RECONSTRUCT, _NDARRAY, _DTYPE):
            raise LandscapeError(
                f"{self.what} asks for {text.replace(' ', '.')}, which the official files do not "
                "contain; it may run code and is refused"
            )
        self.stack.append(_Name(text))

    def since_mark(self) -> list[Any]:
        """Pop everything down to the last mark."""
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            if place == 0:
                raise ValueError("there is no mark")
            place -= 1
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values

    def tuple_of(self, count: int) -> None:
        """Pack the last values into a tuple."""
        values = tuple(self.stack.pop() for _ in range(count))
        self.stack.append(values[::-1])

    def append(self, values: list[Any]) -> None:
        """Lengthen the list on the stack."""
        target = self.stack[-1]
        if not isinstance(target, list):
            raise ValueError("values are appended to what is no list")
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        """Fill the dictionary on the stack: key, value, key, value, …"""
        target = self.stack[-1]
        keys = values[::2]
        # keys of byte strings only: hashing a deep tuple would overflow the interpreter's stack
        if not isinstance(target, dict) or not all(isinstance(key, bytes) for key in keys):
            raise ValueError("items are set that are not by name in a dictionary")
        target.update(zip(keys, values[1::2], strict=True))

    def reduce(self) -> None:
        """What numpy's names stand for with their arguments: an empty array, or uint8."""
        arguments, name = self.stack.pop(), self.stack.pop()
        if (name, arguments) == (_Name(_RECONSTRUCT), (_Name(_NDARRAY), (0,), b"b")):
            self.stack.append(_Array())
        elif (name, arguments) == (_Name(_DTYPE), (b"u1", 0, 1)):
            self.stack.append(_UINT8)
        else:
            raise ValueError("it builds something else than an array of uint8")

    def build(self) -> None:
        """Give an array its values; the type's own state says nothing new."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, _Array):
            target.value = _array(state)
        elif target is not _UINT8:
            raise ValueError("it builds something else than an array of uint8")


def _array(state: Any) -> Bytes:
    """The array of a state (version, shape, type, whether by columns, content)."""
    match state:
        case (1, (int(rows), int(columns)), dtype, int(by_columns), bytes(content)) if (
            dtype is _UINT8 and rows >= 0 and math.prod((rows, columns)) == len(content)
        ):
            flat = np.frombuffer(content, np.uint8)
            return flat.reshape((rows, columns), order="F" if by_columns else "C")
    raise ValueError("an array is not of uint8 in two dimensions, or of another size than it says")


# The opcodes of the official files, and those by which pickle writes the same values elsewhere.
_FRAME = ("PROTO", "STOP")
_PUSH = ("BININT", "BININT1", "BININT2", "LONG1", "BINSTRING", "SHORT_BINSTRING")
_CONSTANT: dict[str, Callable[[], Any]] = {
    "MARK": lambda: _MARK,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_DO: dict[str, Callable[[_Machine, Any], None]] = {
    "GLOBAL": _Machine.name,
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.set_items([machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "REDUCE": lambda machine, _: machine.reduce(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPUT": lambda machine, place: machine.memo.__setitem__(place, machine.stack[-1]),
    "LONG_BINPUT": lambda machine, place: machine.memo.__setitem__(place, machine.stack[-1]),
    "BINGET": lambda machine, place: machine.stack.append(machine.memo[place]),
    "LONG_BINGET": lambda machine, place: machine.stack.append(machine.memo[place]),
}
