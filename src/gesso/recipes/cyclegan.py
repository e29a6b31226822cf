"""Recipes of CycleGAN. Zhu et al. 2017, arXiv 1703.10593."""

from dataclasses import replace

from gesso.recipe import (
    BUILTIN_STREETS,
    Adam,
    Checkpoints,
    CycleGANLoss,
    CycleGANRecipe,
    Discriminator,
    Generator,
    Schedule,
    Tracking,
    TranslationData,
    TranslationEvaluation,
)


def cyclegan() -> CycleGANRecipe:
    """The paper's: two ResNets of 9 blocks, least squares, pools of 50.

    paper     Zhu et al. 2017; appendix 7.1 for the training details
    data      two unpaired folders, such as horse2zebra (1067 and 1334 images)
    cost      measured: 4.2 s a step at 256 px in bf16 on 2 CPU cores with AMX; horse2zebra's 200 epochs have 266,800
    expected  not measured; published: horse → zebra FID 62.1 by the authors' weights, 64.5 by mmagic's
    command   gesso train cyclegan --data.root datasets/horse2zebra
    """
    return CycleGANRecipe(recipe="cyclegan", epochs=200, batch_size=1)


def cyclegan_gaudi() -> CycleGANRecipe:
    """The Gaudi TensorFlow origin's: batch 2, warm-up, delayed cosine, full discriminator loss, prefilled pools.

    paper     Habana Model-References, TensorFlow CycleGAN 1.2.0
    data      horse2zebra
    cost      not measured; a pass over the data costs what cyclegan's does
    expected  not measured; the origin published no score
    command   gesso train cyclegan-gaudi --data.root datasets/horse2zebra -b 2 -e 200 -d bf16
    """
    return CycleGANRecipe(
        recipe="cyclegan-gaudi",
        epochs=200,
        batch_size=2,
        generator=Generator(norm_affine="on", init="kaiming", init_gain=1.0),
        discriminator=Discriminator(norm_affine="on", init="kaiming", init_gain=1.0),
        optimizer=Adam(generator_lr=4e-4, discriminator_lr=2e-4),
        schedule=Schedule(decay="cosine", delay=100, warmup="quadratic", warmup_epochs=25, scaling="sqrt"),
        loss=CycleGANLoss(identity_relative=False, discriminator_factor=1.0, pool_prefill=True),
        checkpoints=Checkpoints(every=1),
        tracking=Tracking(sheet_every=5),
    )


def cyclegan_mindspore() -> CycleGANRecipe:
    """The MindSpore origin's: as the paper's, with dropout in the generators.

    paper     MindSpore model zoo, research/cv/cyclegan
    data      Cityscapes, photos and labels unpaired
    cost      not measured; published: 264 ms a step of one image by the origin's code, on a V100
    expected  not measured; published: pixel accuracy 54.8 %, class accuracy 21.3 %, class IoU 16.1 % by the origin's
              code, for photo → label of Cityscapes
    command   gesso train cyclegan-mindspore --data.root datasets/cityscapes
    """
    base = cyclegan()
    return replace(
        base,
        recipe="cyclegan-mindspore",
        generator=replace(base.generator, dropout=0.5),
        tracking=replace(base.tracking, sheet_every=1),
    )


def cyclegan_demo() -> CycleGANRecipe:
    """A small CycleGAN between street photos and label maps, in minutes on a CPU.

    data      builtin:streets, photos and labels of different streets
    cost      measured: 9,600 images of each domain, 26 minutes on one busy CPU core
    expected  measured: photo → label L1 0.076 (mean target 0.077); label → photo 0.115 (0.106)
    command   gesso train cyclegan-demo
    """
    return CycleGANRecipe(
        recipe="cyclegan-demo",
        data=TranslationData(root=BUILTIN_STREETS, load_size=72, crop_size=64, train_subset=400, evaluate_subset=60),
        epochs=24,
        batch_size=4,
        generator=Generator(ngf=16, blocks=3, norm="batch", upsample="resize"),
        discriminator=Discriminator(ndf=32, layers=2, norm="batch"),
        optimizer=Adam(generator_lr=4e-4, discriminator_lr=2e-4),
        ema=2000,
        ema_ramp=0.3,
        checkpoints=Checkpoints(every=4),
        evaluation=TranslationEvaluation(every=4),
        tracking=Tracking(log_every=400, sheet_every=8),
    )
