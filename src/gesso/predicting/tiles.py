"""A picture of any size through a generator, in windows: in constant memory, without seams.

Rows of the picture are read as they are needed (`data/streamed.py`); a row of windows goes through the network, each
faded into its neighbours (`tiles_layout.py`) and normalised by the statistics of the whole picture
(`tiles_whole.py`); what no later window touches is written. What is held has the height of a window and the width of
the picture: rows of the input, and the sum of the results so far.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from gesso.data.batches import normalize, stack
from gesso.data.decoding import MAX_PIXELS, Array
from gesso.data.images import SUFFIXES, WRITABLE, quantized
from gesso.data.streamed import WRITERS, Rows, open_rows, write_rows
from gesso.devices import facts
from gesso.errors import BadImage, UsageError, spelling
from gesso.files import shown
from gesso.models.base import using
from gesso.networks import Translator
from gesso.networks.anysize import pad
from gesso.predicting.tiles_layout import Axis, lay, reach
from gesso.predicting.tiles_whole import WholePicture
from gesso.progress import Bar, say
from gesso.recipe import Generator

Depth: TypeAlias = type[np.uint8 | np.uint16]
EXACT, SAMPLE = 5 * 2**29, 3 * 2**29
"""Bytes in the network of a picture whose statistics are taken exactly, and of the crops of a larger one. Not what
happens to be free, where that is enough: results should not depend on it. 1,536×1,536 pixels through 64 filters are
within EXACT."""
CROP = 64
"""Sides of those crops in pixels. As many pixels in larger crops lie at fewer places, which counts for more than what
their borders spoil (docs/log.md)."""
ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Tiling:
    """Windows of `tile` pixels that share `overlap` with the next; multiples of what the network wants. `reach` is how
    far it sees."""

    tile: int
    overlap: int
    reach: int


def check_streamed(targets: Sequence[Path], suffix: str) -> None:
    """UsageError where a result's format cannot be written some rows at a time."""
    for target in targets:
        if (kind := SUFFIXES[target.suffix.lower()]) not in WRITERS:
            raise UsageError(
                f"--format {suffix}: {kind} cannot be written some rows at a time, as --tile does; choose tif or png"
            )


def tiling(tile: int, overlap: int, network: nn.Module, config: Generator) -> Tiling:
    """For --tile and --overlap as given. An overlap that does not fit is taken larger, one that is small is told of.
    UsageError where no such windows exist."""
    if overlap < 0:
        raise UsageError(f"--overlap {overlap}: must be 0 or more")
    assert isinstance(network, Translator)
    multiple = network.multiple
    if tile % multiple or tile < network.minimum:
        fitting = max(-(-tile // multiple) * multiple, network.minimum)
        least = f", {network.minimum} or more" if network.minimum > multiple else ""
        raise UsageError(
            f"--tile {tile}: this generator takes multiples of {multiple} pixels{least}; use --tile {fitting}"
        )
    fitting = -(-overlap // multiple) * multiple
    if fitting >= tile:
        rounded = f" (a multiple of {multiple})" if fitting > overlap else ""
        raise UsageError(
            f"--tile {tile}: neighbours would share {fitting} pixels{rounded}, all of it; use --tile {2 * fitting}, or "
            f"less --overlap than {overlap}"
        )
    if fitting > overlap:
        say(f"--overlap {overlap}: taken as {fitting}, because this generator's tiles begin at multiples of {multiple}")
    seen = reach(config)
    if fitting < 2 * seen:
        say(
            f"--overlap {fitting}: this generator sees {seen} pixels to each side, so tiles agree where they meet from "
            f"--overlap {-(-2 * seen // multiple) * multiple} on; with less they are faded into each other"
        )
    return Tiling(tile, fitting, seen)


class TiledTranslator:
    """Translates one picture after the other. The network's layers are replaced as `WholePicture` says.

    channels   of its inputs and of its results
    values     that a pixel takes in the network, in float32
    most       windows that share a batch at most
    """

    def __init__(
        self,
        network: nn.Module,
        tiles: Tiling,
        *,
        channels: tuple[int, int],
        values: int,
        device: torch.device,
        mode: str,
        most: int,
        max_pixels: int,
    ) -> None:
        assert isinstance(network, Translator)
        self._network, self._tiles, self._channels = network, tiles, channels
        self._device, self._mode, self._most, self._max_pixels = device, mode, most, max_pixels
        self._pixel_bytes = values * torch.float32.itemsize
        self._whole = WholePicture(network, mode)

    @spelling(MAX_PIXELS)
    def translate(self, source: Path, target: Path) -> None:
        """Writes what the network makes of `source` as `target`, at its size, and in 16 bits where both have them.

        BadImage for a picture that cannot be read or does not fit; DiskError. A target is whole or not there.
        """
        with open_rows(source, self._channels[0], self._max_pixels) as rows:
            down, across = self._axis(rows.height), self._axis(rows.width)
            together = self._together(rows, down, across)
            deep = rows.dtype == np.uint16 and 2 in WRITABLE[SUFFIXES[target.suffix.lower()]]
            depth: Depth = np.uint16 if deep else np.uint8
            tiles = len(down.starts) * len(across.starts)
            bar = Bar(f"translating {shown(source.name)}", tiles, unit="tiles")
            with bar, using({"": self._network}, self._mode):
                self._take_statistics(rows, down, across)
                finished = (quantized(some, depth) for some in self._made(rows, down, across, together, bar))
                write_rows(target, finished, (rows.height, rows.width, self._channels[1]), depth, rows.shown)

    def _axis(self, length: int) -> Axis:
        tiles = self._tiles
        multiple, minimum = self._network.multiple, self._network.minimum
        return lay(length, tiles.tile, tiles.overlap, tiles.reach, multiple, minimum)

    def _together(self, rows: Rows, down: Axis, across: Axis) -> int:
        """Windows in a batch, as many as fit into memory. BadImage where not even one does, beside what is held of the
        picture itself."""
        free = facts(self._device).free_memory(self._device)
        window = down.side * across.side * self._pixel_bytes
        held = down.side * across.padded * (rows.dtype.itemsize * self._channels[0] + 4 * self._channels[1])
        held = held if facts(self._device).host else 0
        if window + held > free:
            raise BadImage(
                rows.path,
                f"tiles of {across.side}x{down.side} pixels, and the rows that they stand in, would need about "
                f"{(window + held) / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; use a smaller --tile",
            )
        return int(min(self._most, (free - held) // window))

    def _take_statistics(self, rows: Rows, down: Axis, across: Axis) -> None:
        """Has the norms take those of the whole picture, or if it is too large for that, of crops all over it."""
        self._whole.begin()
        if not self._whole.has_statistics or len(down.starts) == len(across.starts) == 1:
            return  # the only window leaves its own
        half = facts(self._device).free_memory(self._device) // 2
        if down.padded * across.padded * self._pixel_bytes <= min(EXACT, half):
            self._through([rows.read(0, rows.height)], [(0, 0)])
            return
        self._whole.begin(crops=True)
        most = min(SAMPLE, half) // self._pixel_bytes
        side = min(max(CROP, 2 * self._network.multiple), self._tiles.tile)
        high, wide = min(side, down.padded), min(side, across.padded)
        places = scattered((down.padded, across.padded), (high, wide), most // (high * wide), self._network.multiple)
        crops = []
        for top, left in places:
            band = rows.read(top, min(top + high, rows.height))
            crops.append(band[:, left : left + wide].copy())  # a view would keep the band
        self._through(crops, places)

    def _through(self, pictures: Sequence[Array], places: Sequence[tuple[int, int]]) -> Tensor:
        """Pictures that lie at `places`, each H×W×C_in, to N×C_out×H'×W' in [-1, 1]; H' and W' are what suits the
        network, of which each may lack some at the right and at the bottom."""
        multiple, minimum = self._network.multiple, self._network.minimum
        images = [pad(normalize(stack([picture.transpose(2, 0, 1)])), multiple, minimum) for picture in pictures]
        return self._whole(torch.cat(images).to(self._device), places)

    def _made(self, rows: Rows, down: Axis, across: Axis, together: int, bar: Bar) -> Iterator[Array]:
        """The result from top to bottom, some rows at a time: H×W×C_out of float32 in [-1, 1]."""
        sums = np.zeros((down.side, across.padded, self._channels[1]), np.float32)
        done = 0
        for j, top in enumerate(down.starts):
            band = rows.read(top, min(top + down.side, rows.height))
            high = down.share(j)[:, None, None]
            for first in range(0, len(across.starts), together):
                lefts = across.starts[first : first + together]
                windows = [band[:, left : left + across.side] for left in lefts]
                made = self._through(windows, [(top, left) for left in lefts]).float().cpu()
                for i, (left, window) in enumerate(zip(lefts, made, strict=True), first):
                    shares = high * across.share(i)[:, None]
                    sums[:, left : left + across.side] += window.permute(1, 2, 0).numpy() * shares
                done += len(lefts)
                bar.update(done)
            through = (down.starts[j + 1] if j + 1 < len(down.starts) else rows.height) - top
            for at in range(0, through, ROWS_AT_ONCE):
                yield sums[at : min(at + ROWS_AT_ONCE, through), : rows.width]
            sums[: down.side - through] = sums[through:]
            sums[down.side - through :] = 0


def scattered(size: tuple[int, int], crop: tuple[int, int], most: int, multiple: int) -> list[tuple[int, int]]:
    """Where `most` crops or fewer lie in a picture of `size`, evenly and yet not regularly: (top, left) from top to
    bottom, multiples of `multiple`, and the same at each call."""
    (height, width), (high, wide) = size, crop
    most = max(most, 1)
    down = min(max(round((most * height / width * wide / high) ** 0.5), 1), -(-height // high), most)
    across = min(most // down, -(-width // wide))
    rng = np.random.default_rng(0)

    def places(length: int, side: int, count: int) -> list[int]:
        """One at random inside each of `count` equal parts."""
        starts = np.arange(count) * length / count
        slack = max(length / count - side, 0)
        chosen = (starts + rng.random(count) * slack).clip(0, length - side)
        return [int(place) // multiple * multiple for place in chosen]

    return [(top, left) for top in places(height, high, down) for left in places(width, wide, across)]
