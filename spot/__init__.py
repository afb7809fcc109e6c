"""SPOT: semi-supervised temporal action detection. Names are imported on first use, so `eval.py` needs no torch."""

import importlib

__version__ = "1.0.0"

_HOME = {
    "load_config": "config",
    "load_model": "checkpoint",
    "detect": "inference",
    "evaluate_detections": "evaluation",
    "soft_nms": "nms",
    "SpotError": "files",
}
__all__ = sorted(_HOME)


def __getattr__(name):  # PEP 562
    if name not in _HOME:
        raise AttributeError(f"module 'spot' has no attribute {name!r}")
    return getattr(importlib.import_module(f"spot.{_HOME[name]}"), name)


def __dir__():
    return sorted([*globals(), *__all__])
