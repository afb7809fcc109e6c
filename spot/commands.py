"""The installed commands spot-train, spot-detect and spot-eval: the three scripts, run as they are."""

import runpy
from importlib.util import find_spec


def train():
    """spot_train.py"""
    _run("spot_train")


def detect():
    """spot_inference.py"""
    _run("spot_inference")


def evaluate():
    """eval.py, which is installed under a name of its own; not so where a clone is installed to be edited."""
    _run("spot_eval" if find_spec("spot_eval") else "eval")


def _run(module):
    runpy.run_module(module, run_name="__main__", alter_sys=False)
