"""Pictures: JPEG and PNG files that are decoded when a batch asks for them."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from landscape.data_store.errors import LandscapeError
from landscape.training.datasets import Bytes, content_of_file

SHORT_SIDE, SIDE = 256, 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_CPU = torch.device("cpu")
_PIXELS = 2**26  # of a picture, as it is and once its short side is 256: ImageNet's have fewer


@dataclass(frozen=True, eq=False)
class Pictures:
    """Files of a folder as inputs (n, 3, 224, 224) of which only a batch is ever in memory.

    Each is resized to 256 on its short side (bilinear, antialiased), cropped to the 224 × 224 in
    its middle, divided by 255 and standardised by ImageNet's mean and standard deviation of each
    channel. A picture has the same values whenever it is read. Files are decoded by as many
    threads as torch uses; one thread reads about 200 a second of 500 × 375 pixels.

    Parameters
    ----------
    folder
        Where the files are.
    names
        Their paths below it.
    sizes
        Bytes of each, int64 (n,).
    device, dtype
        Where batches go to, and as what.
    """

    folder: Path
    names: tuple[str, ...]
    sizes: npt.NDArray[np.int64]
    device: torch.device = _CPU
    dtype: torch.dtype = torch.float32

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, 3, 224, 224)."""
        return (len(self), 3, SIDE, SIDE)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the names and sizes of the files, in order, and how they are scaled.

        The pixels are not part of it: it is known without reading a file.
        """
        digest = hashlib.sha256(f"pictures {SHORT_SIDE} {SIDE} {MEAN} {STD}\n".encode())
        for name, size in zip(self.names, self.sizes.tolist(), strict=True):
            digest.update(os.fsencode(name) + b"\0%d\n" % size)
        return digest.hexdigest()

    def take(self, places: npt.NDArray[np.int64], /) -> Pictures:
        """The pictures at these places."""
        names = tuple(self.names[place] for place in places.tolist())
        return replace(self, names=names, sizes=self.sizes[places])

    def __getitem__(self, places: slice, /) -> Tensor:
        """Consecutive pictures (b, 3, 224, 224)."""
        return self._batch(range(len(self))[places])

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Pictures (b, 3, 224, 224) by number; `dim` is 0."""
        assert dim == 0
        return self._batch(index.tolist())

    def is_floating_point(self) -> bool:
        """True: batches are floats."""
        return True

    def to(self, device: torch.device, dtype: torch.dtype | None) -> Pictures:
        """The same pictures, read onto a device and, unless None, in a dtype."""
        return replace(self, device=device, dtype=dtype or self.dtype)

    def _batch(self, numbers: Iterable[int]) -> Tensor:
        """Pictures as the network takes them."""
        with ThreadPoolExecutor(max(1, torch.get_num_threads())) as threads:
            read = list(threads.map(self._read, numbers))
        pixels = np.stack(read) if read else np.empty((0, SIDE, SIDE, 3), np.uint8)
        batch = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2)
        batch = batch.to(self.dtype, memory_format=torch.contiguous_format).div_(255)
        mean, std = (batch.new_tensor(values)[:, None, None] for values in (MEAN, STD))
        return batch.sub_(mean).div_(std)

    def _read(self, number: int) -> Bytes:
        """One picture, if its file is still what it was."""
        path, size = self.folder / self.names[number], int(self.sizes[number])
        content = content_of_file(path, size)
        if len(content) != size:
            raise LandscapeError(
                f"{path} does not have the {size} bytes any more that it had; leave the files of "
                "a data set as they are while they are used"
            )
        return decoded(content, str(path))


def decoded(content: bytes, what: str) -> Bytes:
    """The 224 × 224 pixels in the middle of a picture: uint8 (224, 224, 3), red, green, blue.

    Parameters
    ----------
    content
        A JPEG or PNG file; grey, CMYK and palettes become RGB.
    what
        Its name in errors.

    Raises
    ------
    LandscapeError
        It is neither, is cut or damaged, or has more than 2^26 pixels, resized or not.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            sides = _resized(image.size, what)
            pixels = image.convert("RGB").resize(sides, Image.Resampling.BILINEAR)
    except LandscapeError:
        raise
    except Exception as error:  # a damaged file raises whatever Pillow stumbles over in it
        kind = type(error).__name__
        raise LandscapeError(f"{what} is no whole JPEG or PNG picture: {kind}: {error}") from error
    left, top = (round((side - SIDE) / 2) for side in sides)
    return np.asarray(pixels.crop((left, top, left + SIDE, top + SIDE)))


def _resized(sides: tuple[int, int], what: str) -> tuple[int, int]:
    """Width and height once the short one is 256, from the header, before memory is taken."""
    short = min(sides)
    width, height = (SHORT_SIDE * side // short for side in sides)
    if max(sides[0] * sides[1], width * height) > _PIXELS:
        raise LandscapeError(
            f"{what} has {sides[0]} × {sides[1]} pixels; more than {_PIXELS}, or as many once its "
            f"short side is {SHORT_SIDE}, are refused"
        )
    return width, height
