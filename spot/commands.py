"""The installed commands spot-train, spot-detect and spot-eval: the three scripts, run as they are."""

import runpy
from importlib import import_module
from importlib.util import find_spec


def train():
    """spot_train.py"""
    _run("spot_train")


def detect():
    """spot_inference.py"""
    _run("spot_inference")


def evaluate():
    """eval.py"""
    _run("eval")


def main_of(script):
    """The function `main` of a script, `spot_train`, `spot_inference` or `eval`."""
    return import_module(_module_of(script)).main


def _run(script):
    runpy.run_module(_module_of(script), run_name="__main__", alter_sys=False)


def _module_of(script):
    """eval.py is installed under a name of its own; not so in a clone."""
    return "spot_eval" if script == "eval" and find_spec("spot_eval") else script
