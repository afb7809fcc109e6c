"""Write docs/settings.md from spot/config.py: every key with its default, what it may be, its unit and its sentence.

    python tools/write_settings.py        (`make docs`)
"""

import ast
import dataclasses
import inspect
import io
import re
import sys
import textwrap
import tokenize
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from omegaconf import MISSING

from spot import config, registry
from spot.command_line import Parser, parse, run
from spot.files import write_text
from spot.setting_names import OTHER_NAMES

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "settings.md"
INTRODUCTION = """# Settings

Every key of the YAML, and of `section.key=value` on the command line, which goes first. `make docs` writes this page
from `spot/config.py`; a test compares the two. An unknown key, a wrong type and a value out of range are refused with
the nearest key or the range. `null` leaves a key open, as its sentence says. Text is kept as it is written; `~` at the
beginning of a path is the home folder. A run folder's `config.yaml` holds all of them as they were.

The letters: T snippets in a sequence, C feature channels, D channels of the embedding, H heads. A sequence is a whole
video on the `resize` grid and a window of T snippets on the `window` grid.
"""
LARGE = 10**5
# What keys may be that take values of several types.
SEVERAL = {
    "dataset.tiers": "list of texts, null", "dataset.feature_path": "path, or a list of them",
    "dataset.feature_pattern": "text, or a list of them, null",
    "dataset.labeled": "above 0 to 1, `annotated`, `info`, path",
    "training.steps_per_epoch": "whole number from 1, `auto`, null", "semi.burn_in": "0 to 1, `auto`",
    "testing.tiou": "first:last:count, or a list", "features": "path, or a list of them, null",
}
# Losses of labels and pseudo labels; those of `registry.LOSSES` say it themselves.
LOSSES = {
    "class": "class of each snippet", "instance": "class of the instance that a snippet is in, pooled under its mask",
    "mask": "mask row of each snippet: cross entropy and Dice", "start_end": "bmn: where actions start and end",
    "confidence": "bmn: which proposals overlap an action", "overlap": "bmn: by how much, squared error",
}


def main(argv=None):
    parse(Parser(description=__doc__.split("\n\n")[0]), argv, takes_overrides=False)
    write_text(PAGE, page())
    print(f"{PAGE.relative_to(ROOT)}: {len(config.schema())} settings")


def page():
    """The whole page, as text."""
    sections = {field.name: field.type for field in dataclasses.fields(config.Config)
                if dataclasses.is_dataclass(field.type)}
    parts = [INTRODUCTION, f"## Files of a run\n\n{table(rows_of(config.Config, ''))}"]
    parts += [f"## {name}\n\n{inspect.getdoc(kind)}\n\n{table(rows_of(kind, f'{name}.'))}"
              for name, kind in sections.items()]
    parts.append(f"## loss\n\nWeights of the losses; 0 leaves one out.\n\n{table(loss_rows())}")
    parts.append(other_names())
    return "\n".join(parts)


def table(rows):
    """Rows of (key, default, values, unit, sentence) as a table."""
    lines = ["| key | default | may be | unit | |", "|---|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows), ""])


def rows_of(section, prefix):
    """A row for each key of a dataclass of settings; prefix: of its keys."""
    sentences = sentences_of(section)
    rows = []
    for field in dataclasses.fields(section):
        if dataclasses.is_dataclass(field.type) or f"{prefix}{field.name}" == "loss":
            continue
        unit, sentence = sentences[field.name]
        rows.append((f"`{prefix}{field.name}`", default_of(field), values_of(field, prefix), unit, sentence))
    return rows


def sentences_of(section):
    """{key: (unit, sentence)} of a dataclass, from the comment behind each field, or else from those above it."""
    source = textwrap.dedent(inspect.getsource(section))
    comments = {token.start[0]: (token.string.lstrip("# "), token.line.lstrip().startswith("#"))
                for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type == tokenize.COMMENT}
    found = {}
    for node in ast.parse(source).body[0].body:
        if isinstance(node, ast.AnnAssign):
            words = [comments[node.end_lineno][0]] if node.end_lineno in comments else []
            line = node.lineno - 1
            while not words or (line in comments and comments[line][1] and node.end_lineno not in comments):
                if line not in comments:
                    break
                words.insert(0, comments[line][0])
                line -= 1
            unit, sentence = re.fullmatch(r"(?:\[(.*?)\] )?(.*)", " ".join(words)).groups()
            # OpenTAD and the letters of tensors stay as they are
            sentence = sentence if re.match(r".[A-Z]|[A-Z]\b", sentence) else sentence[:1].lower() + sentence[1:]
            found[node.target.id] = (unit or "", sentence.rstrip(".").replace("|", "/"))
    return found


def default_of(field):
    """The default of a field, as a YAML says it."""
    value = field.default if field.default is not dataclasses.MISSING else field.default_factory()
    if value == MISSING:
        return "must be given"
    return "null" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def values_of(field, prefix):
    """What a field may be, in words."""
    if f"{prefix}{field.name}" in SEVERAL:
        return SEVERAL[f"{prefix}{field.name}"]
    kinds = get_args(field.type) or (field.type,)
    null = ", null" if type(None) in kinds else ""
    if "choices" in field.metadata:
        return ", ".join(f"`{name}`" for name in field.metadata["choices"])
    if "range" in field.metadata:
        low, high = field.metadata["range"]
        whole = "whole number " if int in kinds else ""
        # Ends so large only keep times finite and sizes in memory.
        numbers = f"from {low:,}" if high >= LARGE else f"{low:g} to {high:g}"
        return f"{whole}{'any' if low <= -LARGE else numbers}{null}".replace("number any", "number")
    if "path" in field.metadata:
        return f"path{null}"
    assert field.type is not Any, f"{prefix}{field.name}: SEVERAL must say what it may be"
    return {bool: "`true`, `false`", int: "whole number", str: "text"}.get(kinds[0], "list of numbers") + null


def loss_rows():
    """A row for each weight of a loss."""
    rows = []
    for name, weight in config.LOSS_WEIGHTS.items():
        sentence = LOSSES.get(name) or inspect.getdoc(registry.find(registry.LOSSES, name)).splitlines()[0].rstrip(".")
        rows.append((f"`loss.{name}`", f"`{weight}`", "from 0", "", sentence))
    return rows


def other_names():
    """What keys are called in other programs, and what nothing here is called."""
    lines = ["## Names of other programs", "",
             "Whoever writes one of these gets the name that it has here (upper case, `_` and `-` do not matter):", "",
             "| there | here |", "|---|---|"]
    for names, meaning in OTHER_NAMES.items():
        here = meaning if isinstance(meaning, str) else ", ".join(f"`{key}`" for key in meaning)
        lines.append(f"| {', '.join(names)} | {here} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    run(main)
