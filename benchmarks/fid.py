"""FID of two sets of images by gesso's functions, beside an independent computation over the same network.

    python benchmarks/fid.py --real horse2zebra/trainB horse2zebra/testB --fake horse2zebra/testA
    python benchmarks/fid.py --pairs facades test

`--pairs ROOT SPLIT` compares the left halves of a paired set (as real) with the right ones. The independent way
shares the network's file and nothing else: Pillow reads the files, numpy resizes them, they go through the network
in other batches and another memory format, and numpy's covariance and scipy's matrix square root do the rest. Each
way takes about 0.2 s an image on one core. Needs the extras `fid` and `dev`. Exit code 1 where the two differ by
more than 0.5 %.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.linalg
import torch
from PIL import Image
from torch import Tensor

from gesso.data.batches import normalize, stack
from gesso.data.folders import Picture, find_split, halve, list_images
from gesso.data.images import read_image, to_channels
from gesso.metrics.distribution import frechet_distance, protocol
from gesso.metrics.features import find_inception, load_inception
from gesso.metrics.features_gathered import gather
from gesso.progress import Bar

ALLOWED = 0.005
BATCH = 16
Floats = npt.NDArray[np.float64]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", nargs="+", type=Path, metavar="DIR", help="folders of the real images")
    parser.add_argument("--fake", nargs="+", type=Path, metavar="DIR", help="folders of the others")
    parser.add_argument("--pairs", nargs=2, metavar=("ROOT", "SPLIT"), help="a paired set instead")
    parser.add_argument("--inception", default="", help="the network as TorchScript; else of the extra fid")
    parser.add_argument("--threads", type=int, default=1, help="cores to use (%(default)s)")
    arguments = parser.parse_args()
    if bool(arguments.pairs) == bool(arguments.real and arguments.fake):
        parser.error("give --real and --fake, or --pairs")
    torch.set_num_threads(arguments.threads)
    if arguments.pairs:
        root, split = arguments.pairs
        found = find_split(Path(root), split, "pairs", unpaired=False)
        sets = {"real": list(found.images["A"]), "fake": list(found.images["B"])}
        names = {"real": f"left halves of {root}, {split}", "fake": f"right halves of {root}, {split}"}
    else:
        folders = {"real": arguments.real, "fake": arguments.fake}
        sets = {
            side: [Picture(p) for folder in given for p in list_images(folder)[0]] for side, given in folders.items()
        }
        names = {side: " + ".join(map(str, given)) for side, given in folders.items()}

    network = load_inception(arguments.inception, torch.device("cpu"))
    start = time.monotonic()
    real, fake = (gather(batches(sets[side], f"gesso, {side}"), network) for side in ("real", "fake"))
    ours = frechet_distance(real.mean, real.covariance, fake.mean, fake.covariance)
    between = time.monotonic()
    script = torch.jit.load(str(find_inception(arguments.inception))).eval()
    theirs = independent_fid(*(independent_features(sets[side], script, side) for side in ("real", "fake")))
    end = time.monotonic()

    print(
        protocol(
            real=names["real"],
            fake=names["fake"],
            n_real=real.count,
            n_fake=fake.count,
            kept=0,
            preparation="files as they are",
            features=network.name,
            checkpoint="none (the files themselves)",
        )
    )
    print(f"FID by gesso                 {ours:.6f}  ({between - start:.0f} s)")
    print(f"FID by numpy and scipy       {theirs:.6f}  ({end - between:.0f} s)")
    difference = abs(ours - theirs) / theirs
    print(f"relative difference          {100 * difference:.6f} %  (allowed {100 * ALLOWED} %)")
    return int(difference > ALLOWED)


def batches(pictures: list[Picture], what: str) -> Iterator[Tensor]:
    """Images as gesso reads them: N×3×H×W in [-1, 1], neighbours of one size together."""
    waiting: list[npt.NDArray[np.uint8]] = []
    with Bar(what, len(pictures)) as bar:
        for done, picture in enumerate(pictures):
            image = to_channels(halve(read_image(picture.path), picture), 3).transpose(2, 0, 1)
            if waiting and (len(waiting) == BATCH or image.shape != waiting[0].shape):
                yield normalize(stack(waiting))
                waiting = []
                bar.update(done)
            waiting.append(image)
        yield normalize(stack(waiting))


def independent_features(pictures: list[Picture], script: torch.jit.ScriptModule, side: str) -> Floats:
    """N×2048, one image at a time."""
    rows = []
    with Bar(f"independent, {side}", len(pictures)) as bar, torch.inference_mode():
        for done, picture in enumerate(pictures):
            with Image.open(picture.path) as opened:
                width, height = opened.size
                middle = width // 2
                box = {"": (0, 0, width, height), "left": (0, 0, middle, height), "right": (middle, 0, width, height)}
                values = np.asarray(opened.convert("RGB").crop(box[picture.half]), np.float64)
            prepared = (enlarged(enlarged(values, 0), 1) - 128) / 128
            rows.append(
                script(torch.from_numpy(prepared.astype(np.float32).transpose(2, 0, 1)[None].copy()))[0].numpy()
            )
            bar.update(done)
    return np.stack(rows).astype(np.float64)


def enlarged(values: Floats, axis: int, side: int = 299) -> Floats:
    """Linear interpolation along `axis` to `side` samples, whose centres are spread like those of the originals."""
    count = values.shape[axis]
    places = np.clip((np.arange(side) + 0.5) * count / side - 0.5, 0, count - 1)
    below = np.floor(places).astype(int)
    above = np.minimum(below + 1, count - 1)
    shape = [1, 1, 1]
    shape[axis] = side
    share = (places - below).reshape(shape)
    return np.take(values, below, axis) * (1 - share) + np.take(values, above, axis) * share


def independent_fid(real: Floats, fake: Floats) -> float:
    """Heusel et al. 2017, eq. 6, as it is written there."""
    apart = real.mean(0) - fake.mean(0)
    cov1, cov2 = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    root = scipy.linalg.sqrtm(cov1 @ cov2)
    if not np.isfinite(root).all():  # of a singular product, where there are fewer images than dimensions
        offset = 1e-6 * np.eye(len(cov1))
        root = scipy.linalg.sqrtm((cov1 + offset) @ (cov2 + offset))
    return float(apart @ apart + np.trace(cov1) + np.trace(cov2) - 2 * np.trace(root).real)


if __name__ == "__main__":
    sys.exit(main())
