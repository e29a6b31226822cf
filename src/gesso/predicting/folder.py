"""Translate a picture or a folder of pictures, each at its own size.

Pictures are padded to what the network wants and cropped back. Those of one size that follow each other share
a batch. Reading and writing run in threads beside the network. A picture that cannot be read is named and the
others go on; a result appears under its name only when it is whole.
"""

import contextlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gesso.data.ahead import ahead
from gesso.data.batches import normalize, stack
from gesso.data.decoding import MAX_PIXELS
from gesso.data.images import (
    SUFFIXES,
    WRITABLE,
    image_size,
    is_sixteen_bit,
    quantized,
    read_image,
    resize,
    write_image,
)
from gesso.devices import choose_device, choose_precision, facts
from gesso.engine.launch import ready_model
from gesso.engine.pulling import at_hand
from gesso.engine.runs import read_recipe
from gesso.engine.state import find_checkpoint, load_for_use
from gesso.errors import BadImage, UsageError, spelling
from gesso.models.base import using
from gesso.models.translation import Translation, Translator
from gesso.networks.anysize import crop, pad
from gesso.predicting.jobs import Job, check_formats, find_jobs, make_folders
from gesso.predicting.tiles import TiledTranslator, Tiling, check_streamed, tiling
from gesso.predicting.uses import other_use
from gesso.progress import Bar, say
from gesso.recipe import Direction, Precision, TranslationRecipe

READERS, READ_AHEAD = 2, 8
SIXTEEN_BITS = "some of these pictures have 16 bits, of which bf16 would lose eight"
# What a picture takes in the network, in float32 values a pixel, as measured on both generators: four layers of
# ngf filters at full size are alive at once, and the picture itself before, between and after them.
LAYERS_ALIVE, PICTURES_ALIVE = 4, 3


@dataclass
class Done:
    """What came of a folder."""

    written: int = 0
    skipped: int = 0
    bad: list[BadImage] = field(default_factory=list)


@dataclass(frozen=True)
class Loaded:
    """A picture ready for the network: 1×C×H×W in [-1, 1], its own size, and whether it had 16 bits."""

    job: Job
    image: Tensor
    size: tuple[int, int]
    sixteen_bit: bool


def translate_folder(
    *,
    run: Path | str,
    inputs: Path | str,
    out: Path | str,
    direction: Direction | None = None,
    checkpoint: str = "best",
    suffix: str = "png",
    batch_size: int = 4,
    mode: str = "recipe",
    resize: int = 0,
    existing: str = "refuse",
    device: str = "auto",
    precision: Precision = "auto",
    max_pixels: int = 100_000_000,
    tile: int = 0,
    overlap: int = 64,
) -> Done:
    """Translate `inputs`, a picture or a folder with its sub-folders, into the folder `out`.

    Results keep their place and name below `inputs`, with `suffix` ("same" keeps the picture's own). They have
    the input's size, and 16 bits where the input has and the format can. With a `tile`, pictures go through in windows
    of so many pixels, as `tiles.py` says. UsageError where a flag does not fit.
    """
    if batch_size < 1:
        raise UsageError(f"--batch-size {batch_size}: must be 1 or more")
    if resize < 0:
        raise UsageError(f"--resize {resize}: must be 0 or more")
    if max_pixels < 1:
        raise UsageError(f"--max-pixels {max_pixels}: must be 1 or more")
    if tile < 0:
        raise UsageError(f"--tile {tile}: must be 0 or more")
    if tile and resize:
        raise UsageError(f"--tile {tile} with --resize {resize}: give one of them")
    run, inputs, out = at_hand(Path(run)), Path(inputs), Path(out)
    found = find_checkpoint(run, checkpoint)
    recipe = read_recipe(run)
    if not isinstance(recipe, TranslationRecipe):
        raise UsageError(other_use(run, recipe, "translator"))
    jobs, skipped = find_jobs(inputs, out, suffix, existing)
    coarse = choose_precision(precision, choose_device(device).value).value != "fp32"
    fine = precision == "auto" and coarse and _sixteen_bits_through(jobs, max_pixels)
    model, choices = ready_model(recipe, device, "fp32" if fine else precision)
    assert isinstance(model, Translator)
    averaged = load_for_use(model, found)
    translation = next(iter(model.chosen(direction).values()))
    check_formats(jobs, {"A": recipe.data.channels_a, "B": recipe.data.channels_b}[translation.target], suffix)
    network = model.networks[translation.network]
    tiles = None
    if tile:
        check_streamed([job.target for job in jobs], suffix)
        tiles = tiling(tile, overlap, network, recipe.generator)
    make_folders(jobs)
    mode = recipe.generator.test_mode if mode == "recipe" else mode
    say(
        f"{translation.source} → {translation.target} with {found.path.name}{' (averaged)' if averaged else ''}, "
        f"{mode} mode, {choices.device.value} ({choices.device.reason}), "
        f"{choices.precision.value} ({SIXTEEN_BITS if fine else choices.precision.reason})"
    )
    work = _Work(model, translation, recipe, choices.device.value, mode, resize, max_pixels)
    done = Done(skipped=skipped)
    if tiles:
        work.translate_in(tiles, jobs, batch_size, done)
        return done
    bar = Bar("translating", len(jobs))
    try:
        with ThreadPoolExecutor(2) as writers:
            pending: list[Future[None]] = []
            # In train mode the statistics are the batch's own, so pictures must not share a batch.
            for batch in work.batches(jobs, 1 if mode == "train" else batch_size, done.bad):
                for loaded, picture in zip(batch, work.translate(batch), strict=True):
                    pending.append(writers.submit(write_image, loaded.job.target, picture))
                while len(pending) > READ_AHEAD:
                    pending.pop(0).result()
                done.written += len(batch)
                bar.update(done.written + len(done.bad))
            for write in pending:
                write.result()
    finally:
        bar.close()
    return done


class _Work:
    """The network and how pictures go through it."""

    def __init__(
        self,
        model: Translator,
        translation: Translation,
        recipe: TranslationRecipe,
        device: torch.device,
        mode: str,
        longest: int,
        max_pixels: int,
    ) -> None:
        channels = {"A": recipe.data.channels_a, "B": recipe.data.channels_b}
        both = channels[translation.source] + channels[translation.target]
        self._values = LAYERS_ALIVE * recipe.generator.ngf + PICTURES_ALIVE * both
        self._network = model.networks[translation.network]
        self._networks = {translation.network: self._network}
        self._channels, self._made = channels[translation.source], channels[translation.target]
        self._device, self._mode, self._longest, self._max_pixels = device, mode, longest, max_pixels

    def translate_in(self, tiles: Tiling, jobs: Iterable[Job], most: int, done: Done) -> None:
        """Translates `jobs` one after the other, in tiles, `most` of which share a batch; tells `done`."""
        translator = TiledTranslator(
            self._network,
            tiles,
            channels=(self._channels, self._made),
            values=self._values,
            device=self._device,
            mode=self._mode,
            most=most,
            max_pixels=self._max_pixels,
        )
        for job in jobs:
            try:
                translator.translate(job.source, job.target)
                done.written += 1
            except BadImage as error:
                done.bad.append(error)

    def batches(self, jobs: Iterable[Job], most: int, bad: list[BadImage]) -> Iterator[list[Loaded]]:
        """Pictures in order, in runs of one size and depth; what cannot be read goes to `bad`."""
        batch: list[Loaded] = []
        for loaded in ahead(self._read, jobs, READERS, READ_AHEAD):
            if isinstance(loaded, BadImage):
                bad.append(loaded)
                continue
            height, width = loaded.image.shape[2:]
            fitting = min(most, self._free_memory() // self._needed(height, width))
            if batch and (len(batch) >= fitting or loaded.image.shape != batch[0].image.shape):
                yield batch
                batch = []
            batch.append(loaded)
        if batch:
            yield batch

    def _read(self, job: Job) -> Loaded | BadImage:
        try:
            return self._loaded(job)
        except BadImage as error:
            return error

    @spelling(MAX_PIXELS)
    def _loaded(self, job: Job) -> Loaded:
        width, height = image_size(job.source, self._max_pixels)
        shrink = min(1.0, self._longest / max(height, width)) if self._longest else 1.0
        small = (max(1, round(height * shrink)), max(1, round(width * shrink)))
        needed, free = self._needed(*small), self._free_memory()
        if needed > free:  # before it is decoded, which might not fit either
            raise BadImage(
                job.source,
                f"{width}x{height} pixels would need about {needed / 1e9:.0f} GB in the network and "
                f"{free / 1e9:.0f} GB are free; use --tile 512, or to shrink it --resize",
            )
        picture = read_image(job.source, self._channels, self._max_pixels)
        size = (picture.shape[0], picture.shape[1])
        picture = resize(picture, small[1], small[0])
        image = normalize(stack([picture.transpose(2, 0, 1)]))
        return Loaded(job, image, size, picture.dtype == np.uint16)

    def _needed(self, height: int, width: int) -> int:
        """Bytes that a picture takes in the network, about."""
        return height * width * self._values * torch.float32.itemsize

    def _free_memory(self) -> int:
        return facts(self._device).free_memory(self._device)

    def translate(self, batch: list[Loaded]) -> list[np.ndarray]:
        """The results, H×W×C of each input's size and depth."""
        images = torch.cat([loaded.image for loaded in batch]).to(self._device)
        shape = (images.shape[2], images.shape[3])
        multiple, minimum = int(self._network.multiple), int(self._network.minimum)  # type: ignore[arg-type]
        with using(self._networks, self._mode):
            made = crop(self._network(pad(images, multiple, minimum)), shape)
        return [_picture(image, loaded) for image, loaded in zip(made.float().cpu(), batch, strict=True)]


def _picture(image: Tensor, loaded: Loaded) -> np.ndarray:
    """C×H×W in [-1, 1] to H'×W'×C at the size of the input, and in its depth where the format has it."""
    deep = loaded.sixteen_bit and 2 in loaded.job.channels
    values = quantized(image.permute(1, 2, 0).numpy(), np.uint16 if deep else np.uint8)
    height, width = loaded.size
    return values if values.shape[:2] == (height, width) else resize(values, width, height)


def _sixteen_bits_through(jobs: list[Job], max_pixels: int) -> bool:
    """Whether any picture has 16 bits and its result can hold them. Looks at headers, up to the first that has."""
    for job in jobs:
        kind = SUFFIXES.get(job.target.suffix.lower())
        with contextlib.suppress(BadImage):  # it is named when its turn comes
            if kind and 2 in WRITABLE[kind] and is_sixteen_bit(job.source, max_pixels):
                return True
    return False
