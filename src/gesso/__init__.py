"""Gesso: train, measure, shrink, ship and benchmark the reference models of images.

    import gesso

    recipe = gesso.RECIPES["pix2pix-demo"]()
    run = gesso.train(recipe)
    gesso.translate(run=run.path, inputs="labels", out="photos")

The names are looked up when they are first used, so that importing gesso does not import torch.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # typing takes longer than all that is here, and an interrupt is not answered before that is over
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "RECIPES": ("gesso.recipes", "RECIPES"),
    "train": ("gesso.engine.train", "train"),
    "resume": ("gesso.engine.train", "resume"),
    "evaluate": ("gesso.engine.score", "score_run"),
    "translate": ("gesso.predicting.folder", "translate_folder"),
    "sample": ("gesso.predicting.sampling", "sample_run"),
    "classify": ("gesso.predicting.classify", "classify_folder"),
    "publish": ("gesso.publishing", "publish"),
}

__all__ = ["RECIPES", "__version__", "classify", "evaluate", "publish", "resume", "sample", "train", "translate"]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'gesso' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    return getattr(import_module(module), attribute)
