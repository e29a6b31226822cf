"""Models out of other programs' files.

A format is one file with one function, and a line in the table. Each finds out by names and shapes what the network is,
and never runs code from a file.
"""

from gesso.importing.dcgan import import_dcgan
from gesso.importing.imported import Format, Imported, Options, Part
from gesso.importing.junyanz import import_junyanz
from gesso.importing.mindspore import import_mindspore
from gesso.importing.run import write_run
from gesso.importing.torchvision import import_torchvision

__all__ = ["FORMATS", "Format", "Imported", "Options", "Part", "write_run"]

FORMATS: dict[str, Format] = {
    "junyanz": import_junyanz,
    "mindspore": import_mindspore,
    "torchvision": import_torchvision,
    "dcgan-example": import_dcgan,
}
