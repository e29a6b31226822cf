"""Loss scaling for fp16: small gradients would be zero in it, so the loss is multiplied before the backward pass and
the gradients are divided after it. Micikevicius et al. 2018, arXiv 1710.03740, section 3.2.

The scale is dynamic, by the usual rule: it doubles after GROWS_AFTER good steps in a row and halves where gradients
overflowed, a step that the guard discards. All of it stays on the device.
"""

import torch
from torch import Tensor

FIRST, LEAST, MOST = 2.0**16, 1.0, 2.0**24
GROWS_AFTER = 2000


class LossScale:
    """The scale of one optimizer's loss.

    value  what the loss is multiplied by, changed in place; a power of two, so that no digit is lost
    """

    def __init__(self, device: torch.device) -> None:
        self.value = torch.tensor(FIRST, device=device)
        self._good = torch.zeros((), device=device)

    def follow(self, finite: Tensor) -> None:
        """After a backward pass: whether its gradients were finite, a bool on the device."""
        good = torch.where(finite, self._good + 1, 0)
        grown = good >= GROWS_AFTER
        self._good = torch.where(grown, 0, good)
        self.value.mul_(torch.where(finite, torch.where(grown, 2.0, 1.0), 0.5)).clamp_(LEAST, MOST)

    def state_dict(self) -> dict[str, float]:
        return {"value": float(self.value), "good": float(self._good)}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.value.fill_(state["value"])
        self._good.fill_(state["good"])

    def forget(self) -> None:
        """Begin anew."""
        self.load_state_dict({"value": FIRST, "good": 0.0})
