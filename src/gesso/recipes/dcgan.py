"""Recipes of DCGAN. Radford et al. 2015, arXiv 1511.06434."""

from dataclasses import replace

from gesso.recipe import (
    BUILTIN_STREETS,
    Checkpoints,
    DCGANRecipe,
    GANOptimizer,
    GenerationEvaluation,
    ImageData,
    Schedule,
    Tracking,
)


def dcgan() -> DCGANRecipe:
    """The paper's: 64 px, batch 128, Adam at 2e-4, no weight averaging, no augmentation.

    paper     Radford et al. 2015, section 4
    data      a folder of images
    cost      not measured
    expected  not measured; published: FID 50.28 by StudioGAN, for its own DCGAN on CIFAR-10 at 32 px: another size and
              another training than here
    command   gesso train dcgan --data.root photos/
    """
    return DCGANRecipe(
        recipe="dcgan",
        epochs=25,
        batch_size=128,
        schedule=Schedule(decay="constant"),
        tracking=Tracking(log_every=6400),
    )


def dcgan_msls() -> DCGANRecipe:
    """The variant for Mapillary street photos: AdamW, a random sideways shift, the centre 256 px down to 64.

    paper     github.com/DMW2151/msls-dcgan
    data      Mapillary Street-Level Sequences, as `gesso data prepare msls` writes it
    cost      not measured
    expected  not measured; the origin published no score
    command   gesso train dcgan-msls --data.root photos/
    """
    base = dcgan()
    return replace(
        base,
        recipe="dcgan-msls",
        data=replace(base.data, preprocess="shift_and_crop"),
        optimizer=GANOptimizer(kind="adamw", weight_decay=0.01),
    )


def dcgan_demo() -> DCGANRecipe:
    """A small DCGAN that draws the built-in streets at 32 px in minutes on a CPU.

    data      builtin:streets, rendered as needed
    cost      measured: 7 min on one CPU core, with four evaluations over Inception
    expected  measured: FID 252, 179, 165, 160 and KID 0.29, 0.17, 0.14, 0.13 at the four checkpoints, 200 images
    command   gesso train dcgan-demo
    """
    base = dcgan()
    return replace(
        base,
        recipe="dcgan-demo",
        data=ImageData(root=BUILTIN_STREETS, image_size=32, flip=True, evaluate_subset=200),
        epochs=60,
        batch_size=16,
        networks=replace(base.networks, ngf=32, ndf=32),
        ema=2000,
        checkpoints=Checkpoints(every=15, keep=0),
        evaluation=GenerationEvaluation(every=15),
        tracking=Tracking(log_every=2000, sheet_every=15),
    )
