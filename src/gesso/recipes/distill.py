"""Recipes of distillation. What they do not say is as their teacher was trained, once `--teacher` names one: data,
direction, networks, optimizer, schedule, length; and the student has half of its filters."""

from dataclasses import replace

from gesso.recipe import CycleGANDistillRecipe, CycleGANLoss, Distillation, Pix2PixDistillRecipe, Pix2PixLoss, Taught
from gesso.recipes.cyclegan import cyclegan
from gesso.recipes.pix2pix import pix2pix


def pix2pix_distill() -> Pix2PixDistillRecipe:
    """gan-compression's for pairs: four inner layers as the teacher's, pictures as the true ones, the teacher's D.

    paper     Li et al. 2020, arXiv 2003.08941, section 3.1; the weights of its code for edges2shoes and Cityscapes
    data      the teacher's
    cost      not measured
    expected  not measured; published: map → aerial FID 48.02 in place of 47.91 at a twelfth of the MACs by
              gan-compression, which also searches for widths, layer by layer
    command   gesso train pix2pix-distill --teacher runs/pix2pix-facades
    """
    base = pix2pix()
    return Pix2PixDistillRecipe(
        recipe="pix2pix-distill",
        epochs=base.epochs,
        batch_size=base.batch_size,
        generator=replace(base.generator, ngf=base.generator.ngf // 2),
        discriminator=base.discriminator,
        loss=Pix2PixLoss(gan=base.loss.gan, lambda_l1=100.0),
        distill=Distillation(lambda_features=1.0),
        taught=Taught(generator=base.generator, discriminator=base.discriminator),
    )


def cyclegan_distill() -> CycleGANDistillRecipe:
    """gan-compression's without pairs: inner layers and pictures as the teacher's, no cycles, the teacher's D.

    paper     Li et al. 2020, arXiv 2003.08941, section 3.1; the weights of its code for horse2zebra
    data      the teacher's
    cost      measured: 2,000 images of each domain, 64 px, a quarter of cyclegan-demo's filters: 90 s on one CPU core
    expected  measured: closes 75 to 103 % of the gap in L1 (photo → label) there between a student from scratch and the
              teacher, over 3 seeds; published: horse → zebra FID 65.33 in place of 65.75 at a 21st of the MACs by
              gan-compression, which also searches for widths, layer by layer
    command   gesso train cyclegan-distill --teacher runs/cyclegan-horse2zebra
    """
    base = cyclegan()
    return CycleGANDistillRecipe(
        recipe="cyclegan-distill",
        epochs=base.epochs,
        batch_size=base.batch_size,
        generator=replace(base.generator, ngf=base.generator.ngf // 2),
        loss=CycleGANLoss(lambda_a=0.0, lambda_b=0.0, lambda_identity=0.0, order="DG", pool_size=0),
        distill=Distillation(lambda_output=10.0, lambda_features=0.01),
        taught=Taught(generator=base.generator, discriminator=base.discriminator),
    )


def cyclegan_distill_mindspore() -> CycleGANDistillRecipe:
    """The MindSpore origin's: the whole CycleGAN loss, and pictures as the teacher's, at 5 times the cycle's weight.

    paper     MindSpore model zoo, research/cv/cyclegan, `kd`
    data      the teacher's
    cost      not measured
    expected  not measured; the origin published no score
    command   gesso train cyclegan-distill-mindspore --teacher runs/cyclegan-horse2zebra
    """
    base = cyclegan_distill()
    return replace(
        base,
        recipe="cyclegan-distill-mindspore",
        loss=CycleGANLoss(),
        distill=Distillation(lambda_output=5 * CycleGANLoss.lambda_a, discriminator="new"),
    )
