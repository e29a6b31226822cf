"""Results of the bench, as if measured."""

from typing import Any

from gesso.bench.results import Result

PLAIN: dict[str, Any] = {
    "kind": "speed",
    "recipe": "pix2pix",
    "model": "pix2pix",
    "mode": "train",
    "data": "synthetic",
    "batch_size": 4,
    "devices": 1,
    "precision": "fp32",
    "compiled": False,
    "device": "cpu",
    "device_name": "a processor",
    "machine": "lab",
    "version": "0.1.0",
    "commit": "0123456789ab",
    "started": "2026-01-02T03:04:05+00:00",
    "run_id": "run",
    "recipe_json": '{"epochs": 2}',
    "environment": {"torch": "2.13.0", "threads": 1, "unusual": ["ä", None, {"1": 0.1}]},
    "step_seconds": [0.1 + 0.001 * step for step in range(20)],
    "metrics": {"samples_per_second": 40.0, "ms_median": 109.5, "peak_memory_bytes": 2**40, "loss/G": float("nan")},
}


def measured(number: int = 0, **changes: Any) -> Result:
    """A result; another `number` makes another measurement of the same configuration."""
    moment = {"started": f"2026-01-02T03:{number // 60 % 60:02d}:{number % 60:02d}.{number:06d}+00:00"}
    return Result(**{**PLAIN, **moment, **changes})
