"""An imported model as a run folder, which every other command takes.

It has one checkpoint of 0 images, with the weights of all networks and nothing for the optimizers: a resume begins them
anew and says so. Networks that no file had are drawn from the recipe's seed.
"""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from gesso.engine import checkpoint
from gesso.engine.report import write_report
from gesso.engine.runlog import RunLog
from gesso.engine.runs import ENVIRONMENT, IMPORTED, LOG, RECIPE, source_commit, versions
from gesso.engine.state import check_fit, counters, load_into
from gesso.errors import DiskError, UsageError
from gesso.files import disk_errors, hidden, write_atomically
from gesso.importing.imported import Imported, Part
from gesso.models import build_model
from gesso.recipe import Recipe


def write_run(imported: Imported, out: Path, name: str = "") -> Path:
    """Make `out` the run of `imported`, whose recipe is called `name`, if given: all of it appears, or nothing.

    UsageError where something is there already. CheckpointError names the tensor that does not fit.
    """
    recipe = (replace(imported.recipe, recipe=name) if name else imported.recipe).checked()
    _check_place(out)
    weights = _weights(recipe, imported)
    origins = {
        network: {"file": str(part.path), "sha256": _digest(part.path)} for network, part in imported.parts.items()
    }
    environment = {**versions(), "commit": source_commit(), IMPORTED: origins}
    beside = hidden(out)
    with disk_errors(out):
        try:
            beside.mkdir(parents=True)
            write_atomically(beside / RECIPE, recipe.to_json())
            write_atomically(beside / ENVIRONMENT, json.dumps(environment, indent=2) + "\n")
            checkpoint.save(beside, 0, recipe.model, weights, {}, {"networks": [*imported.parts]}, recipe.to_json())
            with RunLog(beside / LOG) as log:
                for line in imported.found:
                    log.write("note", 0, text=f"imported: {line}")
                log.write("checkpoint", 0, name=checkpoint.list_checkpoints(beside)[0].name)
            if out.is_dir():
                out.rmdir()
            beside.rename(out)
        except DiskError as error:  # of a file within, under a name that is soon gone
            raise DiskError(str(error).replace(str(beside), str(out))) from error.__cause__
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    write_report(out)
    return out


def _check_place(out: Path) -> None:
    """UsageError unless a run can be made at `out`."""
    if out.is_symlink():
        raise UsageError(f"--out {out}: is a link; name a folder that is none")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: is there already; name another folder with -o")
    if out.exists() and out.samefile(os.curdir):
        raise UsageError(f"--out {out}: is the folder that you are in; name a new one")
    try:
        str(out).encode()
    except UnicodeEncodeError:
        raise UsageError(f"--out {out}: not UTF-8, and few programs open such files; name another folder") from None


def _weights(recipe: Recipe, imported: Imported) -> checkpoint.Weights:
    """state_dict of every network of the model."""
    with torch.device("meta"):  # nothing of the supposed size is made before every tensor is found to fit
        supposed = build_model(recipe)
    completed = {}
    for name, part in imported.parts.items():
        network = supposed.networks[name]
        completed[name] = _completed(part, network)
        check_fit(network, counters(network) | completed[name], str(part.path))
    model = build_model(recipe)
    model.initialize(recipe.seed)
    for name, weights in completed.items():
        network = model.networks[name]
        load_into(network, counters(network) | weights, str(imported.parts[name].path))
    return {name: network.state_dict() for name, network in model.networks.items()}


def _completed(part: Part, network: nn.Module) -> dict[str, torch.Tensor]:
    """The weights of `part`, with the biases of zero that the other program does not have."""
    if not part.zero_biases:
        return part.weights
    wanted = network.state_dict()
    zeros = {
        name: torch.zeros(tensor.shape, device="cpu")
        for name, tensor in wanted.items()
        if name.endswith(".bias") and wanted[f"{name.removesuffix('bias')}weight"].dim() == 4
    }
    return zeros | part.weights


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
