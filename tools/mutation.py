"""Do the tests notice? `make mutation` changes one thing at a time in a module and runs its tests: they have to fail.

A change is another comparison, operator, number, truth value, or `min` for `max`; some of each module's are drawn at
random. What no test notices is printed: a test is missing, or the change makes no difference. Works on a copy of the
project in a temporary folder. A process is forked per change, so that torch is imported once.
"""

import argparse
import ast
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The readers and the losses.
MODULES = ("annotations", "cleaning", "names", "text", "features", "feature_files", "feature_index", "streams",
           "packing", "class_scores", "files", "detections", "config", "losses", "boundary", "pretext", "pseudo_labels")
MORE_TESTS = {"files": ["detections"], "config": ["settings_files"], "annotations": ["layouts"]}
OPERATORS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
             ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or,
             ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
             ast.FloorDiv: ast.Div, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "amin": "amax", "amax": "amin"}


def changes(node):
    """What can be changed in one node of a syntax tree: (attribute, new value) pairs."""
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            yield "ops", [*node.ops[:index], OPERATORS[type(operator)](), *node.ops[index + 1 :]]
    elif isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in OPERATORS:
        yield "op", OPERATORS[type(node.op)]()
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "value", not node.value
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield "value", node.value + 1
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "test", ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Name | ast.Attribute):
        attribute = "id" if isinstance(node, ast.Name) else "attr"
        if getattr(node, attribute) in NAMES and isinstance(node.ctx, ast.Load):
            yield attribute, NAMES[getattr(node, attribute)]


def mutants(source):
    """All changes of a module: a list of (line, before -> after, the changed source)."""
    tree = ast.parse(source)
    found = []
    for node in ast.walk(tree):
        for attribute, value in changes(node):
            before, kept = ast.unparse(node), getattr(node, attribute)
            setattr(node, attribute, value)
            ast.fix_missing_locations(tree)
            found.append((node.lineno, f"{first_line(before)}  ->  {first_line(ast.unparse(node))}", ast.unparse(tree)))
            setattr(node, attribute, kept)
    return found


def first_line(text):
    return text.splitlines()[0][:90]


def run_tests(folder, files):
    """The body of a forked process: its exit code is 0 where all tests pass."""
    import hypothesis
    import pytest

    os.chdir(folder)
    sys.path.insert(0, str(folder))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    # A failure need not become small.
    hypothesis.settings.register_profile("mutation", phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate])
    hypothesis.settings.load_profile("mutation")
    os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--durations=0", *files]))


def noticed(folder, files, limit_sec):
    """Do the tests fail, or go on without end?"""
    process = multiprocessing.get_context("fork").Process(target=run_tests, args=(folder, files))
    process.start()
    process.join(limit_sec)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode != 0


def check_module(name, folder, most, seed):
    """Run the tests of one module on up to `most` changes of it; returns how many were tried and how many noticed."""
    path = folder / "spot" / f"{name}.py"
    source = path.read_text(encoding="utf-8")
    files = [f"tests/test_{test}.py" for test in (name, *MORE_TESTS.get(name, ()))]
    begin = time.perf_counter()
    if noticed(folder, files, None):
        sys.exit(f"the tests of {name} fail as it is: mend them first")
    limit_sec = 20 + 5 * (time.perf_counter() - begin)
    found = mutants(source)
    chosen = random.Random(seed).sample(found, min(most, len(found)))
    survivors = []
    for line, what, changed in sorted(chosen):
        path.write_text(changed, encoding="utf-8")
        if not noticed(folder, files, limit_sec):
            survivors.append(f"  spot/{name}.py:{line}: {what}")
    path.write_text(source, encoding="utf-8")
    print(f"{name}: {len(chosen) - len(survivors)} of {len(chosen)} changes noticed ({len(found)} possible)")
    print("".join(f"{survivor}\n" for survivor in survivors), end="", flush=True)
    return len(chosen), len(chosen) - len(survivors)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("modules", nargs="*", default=MODULES, help=f"default: {' '.join(MODULES)}")
    parser.add_argument("--most", type=int, default=20, help="changes per module (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="which are drawn (default: 0)")
    arguments = parser.parse_args()
    for name in arguments.modules:
        if not (ROOT / "spot" / f"{name}.py").is_file():
            parser.error(f"spot/{name}.py is no module")
    if arguments.most < 1:
        parser.error(f"--most must be at least 1, got {arguments.most}")
    os.environ["OMP_NUM_THREADS"] = "1"  # threads do not survive a fork
    import h5py  # noqa: F401  imported once, here; `spot` itself is imported in each process anew
    import hypothesis  # noqa: F401
    import kornia  # noqa: F401
    import pandas  # noqa: F401
    import pytest  # noqa: F401
    import torch  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "data", "runs"))
        counts = [check_module(name, copy, arguments.most, arguments.seed) for name in arguments.modules]
    tried, seen = map(sum, zip(*counts, strict=True))
    print(f"all: {seen} of {tried} changes noticed, {100 * seen / tried:.0f} %")


if __name__ == "__main__":
    main()
