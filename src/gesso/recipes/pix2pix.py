"""Recipes of pix2pix. Isola et al. 2017, arXiv 1611.07004."""

from dataclasses import replace

from gesso.recipe import (
    BUILTIN_STREETS,
    Adam,
    Checkpoints,
    Discriminator,
    Generator,
    Pix2PixLoss,
    Pix2PixRecipe,
    Tracking,
    TranslationData,
    TranslationEvaluation,
)


def pix2pix() -> Pix2PixRecipe:
    """The paper's: U-Net 256, batch norm, dropout at test time too.

    paper     Isola et al. 2017; section 6.2 for the training details
    data      pairs, such as facades (400 images)
    cost      not measured; facades' 200 epochs are 80,000 steps of one image at 256 px
    expected  not measured; published: FID 119.1 by the authors' weights, 125.0 by mmagic's, for facades label → photo
    command   gesso train pix2pix --data.root datasets/facades --direction BtoA
    """
    return Pix2PixRecipe(
        recipe="pix2pix",
        epochs=200,
        batch_size=1,
        generator=Generator(kind="unet", depth=8, norm="batch", dropout=0.5, test_mode="train"),
        discriminator=Discriminator(norm="batch"),
    )


def pix2pix_resnet9() -> Pix2PixRecipe:
    """The golden bench's: ResNet of 9 blocks as the generator.

    paper     the pix2pix golden bench, on github.com/junyanz/pytorch-CycleGAN-and-pix2pix at 003efc4c
    data      facades
    cost      not measured; published: 0.044 s an image by the bench, on a V100 in float32
    expected  not measured; published: mean losses of the last epoch by the bench, for facades on a V100: G_GAN 2.495,
              G_L1 18.41, D_real 0.169, D_fake 0.202
    command   gesso train pix2pix-resnet9 --data.root datasets/facades --direction BtoA
    """
    base = pix2pix()
    return replace(
        base,
        recipe="pix2pix-resnet9",
        generator=replace(base.generator, kind="resnet", blocks=9),
    )


def pix2pix_demo() -> Pix2PixRecipe:
    """A small pix2pix that draws street photos from label maps in minutes on a CPU.

    data      builtin:streets, rendered as needed
    cost      measured: 3 min on 2 CPU cores, in fp32
    expected  measured: L1 0.077, PSNR 18.8, SSIM 0.37 on 60 unseen streets (input copied 0.166, 13.4, 0.13; mean target
              0.106, 16.8, 0.21)
    command   gesso train pix2pix-demo
    """
    return Pix2PixRecipe(
        recipe="pix2pix-demo",
        direction="BtoA",
        data=TranslationData(root=BUILTIN_STREETS, load_size=72, crop_size=64, train_subset=600, evaluate_subset=60),
        epochs=16,
        batch_size=4,
        generator=Generator(kind="unet", ngf=32, depth=6, norm="batch", upsample="resize"),
        discriminator=Discriminator(ndf=32, layers=2, norm="none"),
        optimizer=Adam(generator_lr=5e-4, discriminator_lr=2e-4),
        loss=Pix2PixLoss(gan="lsgan"),
        checkpoints=Checkpoints(every=4),
        evaluation=TranslationEvaluation(every=4),
        tracking=Tracking(log_every=600, sheet_every=2),
    )
