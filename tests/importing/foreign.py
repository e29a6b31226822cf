"""Toy files of other programs' weights, under the names that the documents use."""

from pathlib import Path

import torch
from mindspore_networks import ckpt, resnet
from torch import nn

from gesso.networks import PatchGAN, ResNetGenerator, UNetGenerator
from gesso.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from gesso.networks.densenet import DenseNet


def write_foreign(folder: Path) -> None:
    """One of every kind that `gesso import` takes, in `folder`."""
    networks: dict[str, nn.Module] = {
        "latest_net_G": UNetGenerator(3, 3, 2, 5),
        "latest_net_D": PatchGAN(6, 2, 2, "batch"),
        "latest_net_G_A": ResNetGenerator(3, 3, 2, 1),
        "latest_net_G_B": ResNetGenerator(3, 3, 2, 1),
        "densenet121": DenseNet((1, 1), 4, 8, classes=2),
        "netG_epoch_24": DCGANGenerator(64, 8, 3, 2),
        "netD_epoch_24": DCGANDiscriminator(64, 3, 2),
    }
    for name, network in networks.items():
        torch.save(network.state_dict(), folder / f"{name}.pth")
    for seed, name in enumerate(("G_A_200", "G_B_200")):
        (folder / f"{name}.ckpt").write_bytes(ckpt(resnet(2, 1, "instance", bordered=True, seed=seed)))
    (folder / "imagenet-classes.txt").write_text("dark\nlight\n")
