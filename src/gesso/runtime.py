"""onnxruntime without its telemetry.

Its official builds send events of what is run to their maker, under an identifier that they keep in the user's home
(onnxruntime's Privacy.md). Nobody who translates a folder of pictures has asked for that. The switch is read as the
library is loaded, so all of gesso loads it here. Needs nothing but the standard library.
"""

import os
from typing import Any

SWITCH = "ORT_DISABLE_TELEMETRY"


def onnxruntime() -> Any:
    """The module, its telemetry off unless the user's environment has set `SWITCH`. ImportError where there is none."""
    os.environ.setdefault(SWITCH, "1")
    import onnxruntime

    return onnxruntime
