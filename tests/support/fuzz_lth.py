"""Hostile folders of open_lth: names, cut files, links, masks that fit nothing."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from landscape.data_store.open_lth import read_levels
from landscape.data_store.params import Array
from tests.support import fuzz_corpus as corpus
from tests.support.fuzz import damaged
from tests.support.fuzz_foreign import fit, torch_file
from tests.support.fuzz_watch import SIZE_LIMIT, Target

_NAMES = (
    "level_1/main/model_ep99999999999_it0.pth", "level_5/main/mask.pth", "level_00/main/mask.pth",
    "replicate_1/level_0/main/mask.pth", "replicate_2/x", "main/mask.pth", "level_0/x\n.pth",
    "level_0/main/model_ep1_it1.pth", "level_-1/main/mask.pth",
    "level_pretrain/main/model_ep0_it0.pth",
    "level_1/main/model_ep0_it0.pth", "level_9999/main/mask.pth", "\x1b[31m/x", "mask.pth",
)  # fmt: skip


def folder(draws: Random) -> dict[str, bytes]:
    """A hostile folder of open_lth: names, cut files, masks of wrong shapes."""
    files = dict(_good())
    for _ in range(draws.choice((1, 1, 2, 3))):
        name = draws.choice(list(files))
        how = draws.randrange(8)
        if how == 0:
            del files[name]
        elif how == 1:
            files[name] = damaged(draws, files[name])
        elif how == 2:
            files[name] = torch_file(draws)
        elif how == 3:
            files[draws.choice(_NAMES)] = files[name]
        elif how == 4:
            files[name] = files[draws.choice(list(files))]
        elif how == 5:
            files[name] = b"->" + draws.choice(
                (b"../../../../../outside/secret", b"/dev/zero", b".", b"")
            )
        else:
            files[name] = _torch_bytes(_odd_mask(draws))
        if not files:
            files["level_0/main/mask.pth"] = b""
    return files


def _odd_mask(draws: Random) -> dict[str, Array]:
    """Masks of wrong names, shapes, types or values."""
    masks = {name: corpus.mask(1).kept[corpus.SPEC.slices[name]] for name in corpus.PRUNABLE}
    name = draws.choice(list(masks))
    shaped = {n: m.reshape(corpus.SPEC.shape(n)).astype("f4") for n, m in masks.items()}
    odd = shaped.pop(name)
    choices = {
        name: draws.choice((odd.T, odd[0], odd * 2, odd * np.nan, odd.astype("i8"), odd[:, :0],
                            odd.reshape(-1), odd[None], -odd, np.array(1.0))),
        draws.choice(("fc1.bias", "x", "", "a" * 999, "module." + name, "\x1b")): odd,
    }  # fmt: skip
    return shaped | choices


def _torch_bytes(state: dict[str, Array]) -> bytes:
    """A file of torch.save."""
    import torch

    buffer = io.BytesIO()
    torch.save({n: torch.from_numpy(np.ascontiguousarray(a)) for n, a in state.items()}, buffer)
    return buffer.getvalue()


@cache
def _good() -> dict[str, bytes]:
    """A good folder with two levels."""
    files = {}
    for number in (0, 1):
        mask = corpus.mask(number)
        shaped = corpus.SPEC.unflatten(mask.kept.astype("f4"))
        masks = {name: shaped[name] for name in corpus.PRUNABLE}
        files[f"level_{number}/main/mask.pth"] = _torch_bytes(masks)
        for step, seed in (("ep0_it0", 1), ("ep2_it0", 10 + number)):
            state = corpus.SPEC.unflatten(corpus.point(seed).theta)
            files[f"level_{number}/main/model_{step}.pth"] = _torch_bytes(state)
    return files


def _read(files: dict[str, bytes], scratch: Path) -> None:
    """Read a folder as an import does."""
    root = scratch / "lottery_0"
    for name, content in files.items():
        path = root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if content.startswith(b"->"):
                path.symlink_to(content[2:].decode() or "loop")
            else:
                path.write_bytes(content)
        except (OSError, ValueError):  # a file where another is to lie in it, a link to NUL
            continue
    for _ in read_levels(root, fit, size_limit=SIZE_LIMIT):
        pass


TARGETS = (Target("open-lth", folder, _read),)
