"""Pictures read lazily: against a naive reader, as a tensor, bounded in memory, and hostile."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import nn

from landscape.analysis.network.evaluator import Evaluator
from landscape.data_store.errors import LandscapeError
from landscape.data_store.mask import Mask
from landscape.data_store.records import RunConfig
from landscape.training.loop import LevelTraining, on_device
from landscape.training.models import current_point, parameter_spec
from landscape.training.network import Network
from landscape.training.pictures import Pictures, decoded
from landscape.training.retrain import Start
from landscape.training.task import Split, Task, cross_entropy, require_fit

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CPU = torch.device("cpu")


def encoded(pixels: npt.NDArray[np.uint8], kind: str = "PNG", mode: str | None = None) -> bytes:
    """A picture's file."""
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind)
    return buffer.getvalue()


def noise(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    """Seven pictures of different shapes and kinds."""
    names, sizes = [], []
    for number, (height, width) in enumerate([(256, 256), (300, 260), (40, 64), (224, 500)] * 2):
        kind = ("png", "jpeg")[number % 2]
        content = encoded(noise(height, width, number), kind)
        (tmp_path / f"{number}.{kind}").write_bytes(content)
        names.append(f"{number}.{kind}")
        sizes.append(len(content))
    return Pictures(tmp_path, tuple(names[:7]), np.array(sizes[:7]))


def triangle(length: int, size: int) -> npt.NDArray[np.float64]:
    """Weights (size, length) of a bilinear resize whose kernel grows with what it leaves out."""
    scale = length / size
    support = max(scale, 1.0)
    centres = (np.arange(size) + 0.5) * scale
    apart = np.abs(np.arange(length) + 0.5 - centres[:, None]) / support
    weights = np.maximum(1 - apart, 0)
    normed: npt.NDArray[np.float64] = weights / weights.sum(1, keepdims=True)
    return normed


def naive_middle(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Resized to 256 on the short side by matrices, and the middle 224 of that."""
    height, width = pixels.shape[:2]
    short = min(height, width)
    rows = triangle(height, 256 * height // short)
    columns = triangle(width, 256 * width // short)
    resized: npt.NDArray[np.float64] = np.einsum("ih,hwc->iwc", rows, pixels * 1.0)
    resized = np.einsum("jw,iwc->ijc", columns, resized)
    top, left = (round((side - 224) / 2) for side in resized.shape[:2])
    return resized[top : top + 224, left : left + 224]


@pytest.mark.parametrize("sides", [(256, 256), (300, 260), (40, 64), (512, 300), (224, 501)])
def test_the_middle_of_a_resized_picture_is_that_of_a_naive_resize(sides: tuple[int, int]) -> None:
    pixels = noise(*sides)
    mine = decoded(encoded(pixels), "x")
    assert mine.shape == (224, 224, 3)
    assert mine.dtype == np.uint8
    assert np.abs(mine - naive_middle(pixels)).max() <= 1.01  # bytes are rounded twice


def test_a_picture_of_256_is_only_cropped() -> None:
    pixels = noise(256, 256)
    np.testing.assert_array_equal(decoded(encoded(pixels), "x"), pixels[16:240, 16:240])


@pytest.mark.parametrize(
    ("kind", "mode"), [("JPEG", "CMYK"), ("JPEG", "L"), ("PNG", "LA"), ("PNG", "P")]
)
def test_other_colours_become_red_green_and_blue(kind: str, mode: str) -> None:
    pixels = np.full((260, 260, 3), 102, np.uint8)  # a level of the web palette
    mine = decoded(encoded(pixels, kind, mode), "x")
    assert mine.shape == (224, 224, 3)
    assert np.abs(mine.astype(int) - 102).max() <= 3


def test_a_batch_is_scaled_and_standardised_by_channel(pictures: Pictures) -> None:
    batch = pictures[1:3]
    assert batch.dtype == torch.float32
    assert batch.is_contiguous()
    for row, number in enumerate((1, 2)):
        content = (pictures.folder / pictures.names[number]).read_bytes()
        pixels = decoded(content, "x") / 255.0
        expected = (pixels - np.array(MEAN)) / np.array(STD)
        np.testing.assert_allclose(batch[row].permute(1, 2, 0), expected, atol=2e-6)


def test_pictures_are_used_as_a_tensor_is(pictures: Pictures) -> None:
    whole = pictures[:]
    assert pictures.shape == tuple(whole.shape) == (7, 3, 224, 224)
    assert len(pictures) == 7
    assert pictures.is_floating_point()
    for places in (slice(0, 3), slice(5, 99), slice(7, 9), slice(None, None, 2)):
        assert torch.equal(pictures[places], whole[places])
    chosen = torch.tensor([6, 0, 0, 3])
    assert torch.equal(pictures.index_select(0, chosen), whole.index_select(0, chosen))
    moved = pictures.to(CPU, torch.float64)
    assert moved[:1].dtype == torch.float64
    assert moved.to(CPU, None).dtype == torch.float64
    torch.testing.assert_close(moved[:1].float(), whole[:1])
    taken = pictures.take(np.array([4, 2]))
    assert torch.equal(taken[:], whole[[4, 2]])
    assert taken.sizes.tolist() == [pictures.sizes[4], pictures.sizes[2]]


def test_several_threads_read_the_same(pictures: Pictures) -> None:
    alone, threads = pictures[:], torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert torch.equal(pictures[:], alone)
    finally:
        torch.set_num_threads(threads)


def test_the_digest_is_names_sizes_and_order_and_reads_nothing(pictures: Pictures) -> None:
    def other(**changed: object) -> str:
        given = {"folder": pictures.folder, "names": pictures.names, "sizes": pictures.sizes}
        return Pictures(**{**given, **changed}).digest  # type: ignore[arg-type]

    digests = {
        pictures.digest,
        other(names=("other.png", *pictures.names[1:])),
        other(sizes=pictures.sizes + 1),
        pictures.take(np.array([1, 0, 2, 3, 4, 5, 6])).digest,
        pictures.take(np.arange(6)).digest,
    }
    assert len(digests) == 5
    assert all(len(bytes.fromhex(digest)) == 32 for digest in digests)
    # nor is it a matter of where they lie and where they go
    assert other(folder=Path("elsewhere")) == pictures.to(CPU, torch.float64).digest
    assert other(folder=Path("elsewhere")) == pictures.digest


def tasks(pictures: Pictures) -> tuple[Task, Task]:
    """The same task, read lazily and in memory."""
    classes = torch.arange(7) % 3
    lazy = Split(pictures, classes)
    held = Split(pictures[:], classes)
    return (
        Task("lazy", {"train": lazy, "test": lazy}, classes=3),
        Task("held", {"train": held, "test": held}, classes=3),
    )


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 2, 7, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 28 * 28, 3)
    )


def test_a_task_of_pictures_has_a_digest_of_its_own(pictures: Pictures) -> None:
    lazy, held = tasks(pictures)
    require_fit(small_network(), lazy)
    assert lazy.input_shape == (3, 224, 224)
    assert lazy.outputs == 3
    assert lazy.digest != held.digest
    split = lazy.splits["train"]
    relabelled = Split(pictures, split.targets.flip(0))
    assert relabelled.digest != split.digest


def trained(task: Task, augment: bool) -> tuple[bytes, bytes]:
    """Weights and curve after five steps."""
    module = small_network()
    spec = parameter_spec(module)
    start = Start(current_point(module, spec))
    network = Network(module, spec, CPU)
    config = RunConfig(iterations=5, batch_size=3, eval_every=2, levels=1, lr=0.01, augment=augment)
    training = LevelTraining(
        network, on_device(task, network), config, Mask.dense(spec, ("0.weight",)), start, 0
    )
    for _ in training.run():
        pass
    return network.point().theta.tobytes(), training.trace.values.tobytes()


@pytest.mark.parametrize("augment", [False, True])
def test_training_on_pictures_gives_the_bits_of_training_on_their_tensor(
    pictures: Pictures, augment: bool
) -> None:
    lazy, held = tasks(pictures)
    assert trained(lazy, augment) == trained(held, augment)


@pytest.mark.parametrize("bn", ["interpolate", "recompute"])
def test_the_evaluator_takes_pictures_as_it_takes_their_tensor(pictures: Pictures, bn: str) -> None:
    module = small_network()
    points = np.stack([current_point(module, parameter_spec(module)).theta] * 2)
    points[1] *= 0.5
    coefficients = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    found = []
    for task in tasks(pictures):
        splits = {name: (s.inputs, s.targets) for name, s in task.splits.items()}
        evaluator = Evaluator(module, splits, cross_entropy, bn=bn, batch_size=2)  # type: ignore[arg-type]
        found.append(evaluator.evaluate(points, coefficients, split="test"))
    np.testing.assert_array_equal(found[0].loss, found[1].loss)
    np.testing.assert_array_equal(found[0].error, found[1].error)
    assert np.isfinite(found[0].loss).all()


def test_only_a_batch_is_in_memory(tmp_path: Path) -> None:
    content = encoded(np.full((256, 256, 3), 9, np.uint8))
    (tmp_path / "a.png").write_bytes(content)
    many = Pictures(tmp_path, ("a.png",) * 400, np.full(400, len(content)))
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 2))
    network = Network(module, parameter_spec(module), CPU)
    classes = torch.zeros(400, dtype=torch.int64)
    task = Task("many", {"train": Split(many, classes), "test": Split(many, classes)})
    tracemalloc.start()
    for start in range(0, 400, 20):
        many[start : start + 20]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 20 * 224 * 224 * 3  # bytes; 400 would be twenty times that
    assert np.isfinite(network.evaluate(on_device(task, network).splits["test"], task)[0])


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing of it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png_of(20_000, 4_000), "x has 20000 × 4000 pixels; more than 67108864, or as many once"),
        (png_of(2_000_000, 1), "x has 2000000 × 1 pixels; more than 67108864, or as many once its"),
        (png_of(60_000, 60_000), "x is no whole JPEG or PNG picture: DecompressionBombError"),
        (png_of(300, 300), "x is no whole JPEG or PNG picture: OSError"),
        (png_of(0, 300), "x is no whole JPEG or PNG picture"),
        (b"", "x is no whole JPEG or PNG picture: UnidentifiedImageError"),
        (b"GIF89a" + bytes(99), "x is no whole JPEG or PNG picture: UnidentifiedImageError"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "UnidentifiedImageError"),
        (encoded(noise(30, 30))[:-60], "x is no whole JPEG or PNG picture"),
        (encoded(noise(30, 30), "JPEG")[:-60], "x is no whole JPEG or PNG .*truncated"),
    ],
)
def test_what_is_no_whole_picture_is_refused_by_name(content: bytes, message: str) -> None:
    tracemalloc.start()
    with pytest.raises(LandscapeError, match=message):
        decoded(content, "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it passes over
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_flipped_byte_is_refused_or_harmless(kind: str) -> None:
    content = encoded(noise(9, 9), kind)
    refused = 0
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 0x81
        try:
            assert decoded(bytes(flipped), "x").shape == (224, 224, 3)
        except LandscapeError as error:
            assert str(error).startswith("x ")  # noqa: PT017
            refused += 1
    assert refused > 20


def deleted(path: Path) -> None:
    path.unlink()


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def shorter(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (deleted, r"2\.png cannot be read: No such file"),
        (longer, r"2\.png does not have the \d+ bytes any more that it had; leave the files"),
        (shorter, r"2\.png does not have the \d+ bytes any more that it had"),
        (piped, r"2\.png cannot be read: it is no plain file"),
    ],
)
def test_a_file_that_changed_since_it_was_listed_is_named(
    pictures: Pictures, change: Callable[[Path], None], message: str
) -> None:
    change(pictures.folder / "2.png")
    with pytest.raises(LandscapeError, match=message):
        pictures[:]
    assert len(pictures[3:5]) == 2
