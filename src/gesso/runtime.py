"""Other people's runtimes without their telemetry.

onnxruntime's official builds send events of what is run to their maker, under an identifier that they keep in the
user's home (onnxruntime's Privacy.md); OpenVINO's converter starts processes that send what it converts. Nobody who
translates a folder of pictures or exports a run has asked for that. Both are decided as the library is loaded, so all
of gesso loads them here. Needs nothing but the standard library.
"""

import os
import sys
from typing import Any

SWITCH = "ORT_DISABLE_TELEMETRY"
SENDER = "openvino_telemetry"
"""The package through which OpenVINO sends. Where it cannot be imported, OpenVINO takes its own stub."""


def onnxruntime() -> Any:
    """The module, its telemetry off unless the user's environment has set `SWITCH`. ImportError where there is none."""
    os.environ.setdefault(SWITCH, "1")
    import onnxruntime

    return onnxruntime


def openvino() -> Any:
    """The module, its telemetry off unless this process has loaded `SENDER` before. ImportError where there is none.

    For the rest of the process importing `SENDER` is an ImportError, because OpenVINO imports it piece by piece, when
    each is first used. What the user has consented to or not, a file in their home, is neither read nor written.
    """
    sys.modules.setdefault(SENDER, None)  # type: ignore[arg-type]  # as the import system spells "cannot be imported"
    import openvino

    return openvino
