"""What README and docs say can be done: commands parse, settings and targets are there, links lead on."""

import importlib
import os
import re
import shlex
import sys
from itertools import pairwise
from pathlib import Path
from pkgutil import resolve_name

import pytest

from spot import command_line
from spot.config import load_config, schema
from spot.files import SpotError
from tools import write_settings

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
STARTS = ("python ", "python3 ", ".venv/bin/", "make ", "torchrun ", "pip ",
          *(f"{name} " for name in command_line.INSTALLED.values()))
SECTIONS = ("dataset", "model", "training", "augment", "pretext", "semi", "loss", "testing")
# What stands for a value of the reader's own.
PLACEHOLDER = re.compile(r"\.\.\.|<.*>|[A-Z][A-Z_]*(\.\w+)?|")
# Names that docs/extend.md gives to parts which its reader writes.
INTRODUCED = set(re.findall(r'^    "(\w+)": "spot', (ROOT / "docs" / "extend.md").read_text(), re.M))


class Parsed(Exception):
    """A script has read its arguments; args[0] is what it read."""


def blocks_of(text):
    """(lines of code that a reader would type, inline code) of a page; a line that ends in a backslash goes on."""
    fenced = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.M | re.S)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    indented = re.findall(r"(?:^    .*\n?)+", prose, re.M)
    lines = [line.strip() for block in fenced + indented for line in re.sub(r"\\\n\s*", " ", block).splitlines()]
    prose = re.sub(r"(?:^    .*\n?)+", "", prose, flags=re.M)
    return lines, [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]


def commands():
    """(page, kind, words) of each command of README and docs."""
    found = []
    for page in PAGES:
        lines, inline = blocks_of(page.read_text(encoding="utf-8"))
        for line in (os.path.expandvars(line.removeprefix("srun ")) for line in [*lines, *inline]):
            if not line.startswith(STARTS):
                continue
            for part in re.split(r" && | \| ", line):
                words = [Path(word).name if i == 0 else word for i, word in enumerate(shlex.split(part, comments=True))]
                if words[0] in ("python", "python3", "torchrun"):
                    # `python -m venv` and the like are others' commands
                    script = next((i for i, word in enumerate(words) if word.endswith(".py")), None)
                    if script is not None:
                        found.append((page.name, "python", words[script:]))
                elif words[0] in command_line.INSTALLED.values():
                    script = {name: file for file, name in command_line.INSTALLED.items()}[words[0]]
                    found.append((page.name, "python", [script, *words[1:]]))
                elif words[0] in ("make", "pip"):
                    found.append((page.name, words[0], words[1:]))
    return found


def of_kind(kind):
    """Those of a kind, each once, with readable test names."""
    chosen = {" ".join([page, *words]): (page, words) for page, found, words in commands() if found == kind}
    return [pytest.param(words, id=name[:100]) for name, (_, words) in chosen.items()]


def test_commands_are_found():
    """A page in which none is found may have changed its layout."""
    kinds = [kind for _, kind, _ in commands()]
    assert kinds.count("python") > 30 and kinds.count("make") > 5 and kinds.count("pip") > 1


@pytest.mark.parametrize("words", of_kind("python"))
def test_a_command_parses(words, monkeypatch, tmp_path):
    """Its flags exist and take these values, its settings exist, and a settings file of ours that it names is there."""
    script, *rest = words
    module = importlib.import_module(script.removesuffix(".py").replace("/", "."))
    parse = command_line.parse

    def stop(parser, *arguments, **how):
        raise Parsed(parse(parser, *arguments, **how))

    monkeypatch.setattr(command_line, "parse", stop)
    if hasattr(module, "parse"):
        monkeypatch.setattr(module, "parse", stop)
    for word in rest:  # a run or file of the reader's
        if word.startswith("config/"):
            assert (ROOT / word.split()[0]).is_file()
        elif re.fullmatch(r"[\w./-]+", word) and not word.startswith(("-", "/", "..")):
            (tmp_path / word).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(Parsed) as parsed:
        module.main()
    overrides = parsed.value.args[0].overrides
    learning = [one for one in overrides if one.startswith(("semi.", "training.max", "training.pretrain_epoch"))]
    for override in overrides:
        check_setting(override, beside=learning)


def check_setting(override, beside=()):
    """SpotError for `key=value` that no settings file may hold; a placeholder stands for a value that one may.

    beside: settings with which it goes together
    """
    key, _, value = override.partition("=")
    if value in INTRODUCED or key.rpartition(".")[2] in INTRODUCED:
        return
    try:
        load_config(None, [*beside, override] if not PLACEHOLDER.fullmatch(value) else [f"{key}=1"])
    except SpotError as error:
        if PLACEHOLDER.fullmatch(value) and "unknown key" not in str(error) and "no setting" not in str(error):
            return
        raise


@pytest.mark.parametrize("words", of_kind("make"))
def test_a_target_and_its_variables_exist(words):
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)", makefile, re.M)[1].split()
    for word in words:
        name, is_variable, _ = word.partition("=")
        if is_variable:
            assert re.search(rf"\$\({name}\)|^{name} ", makefile, re.M), f"the Makefile has no variable {name}"
        else:
            assert name in targets


@pytest.mark.parametrize("words", of_kind("pip"))
def test_what_pip_installs_from_here_is_there(words):
    for flag, value in pairwise(words):
        if flag == "-r":
            assert (ROOT / value).is_file()
        if value.startswith(".["):
            extras = re.search(r"\[(.*)\]", value)[1].split(",")
            text = (ROOT / "pyproject.toml").read_text()
            assert all(re.search(rf"^{extra} = \[", text, re.M) for extra in extras)


@pytest.mark.parametrize("page", [page for page in PAGES if page != write_settings.PAGE], ids=lambda page: page.name)
def test_settings_that_a_page_names_exist(page):
    """`section.key` and `section.key=value`, alone in backquotes."""
    pattern = re.compile(rf"({'|'.join(SECTIONS)})\.\w+([=:].*)?")
    for code in blocks_of(page.read_text(encoding="utf-8"))[1]:
        for word in code.split():
            if pattern.fullmatch(word) and not word.endswith((".py", ".md", ".json")):
                key, value = re.fullmatch(r"([\w.]+)[=:]?(.*)", word).groups()
                check_setting(f"{key}={value}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_that_a_page_names_exists(page):
    """`spot.module.name`, alone in backquotes or called there; docs/extend.md names what its reader writes."""
    for code in blocks_of(page.read_text(encoding="utf-8"))[1]:
        if found := re.match(r"spot(\.\w+)+(?=$|\()", code):
            resolve_name(found[0])


def test_the_page_of_all_settings_is_current():
    """`make docs` writes it anew; a key without a sentence in config.py is a KeyError there, or has too few words."""
    assert write_settings.PAGE.read_text(encoding="utf-8") == write_settings.page()
    rows = re.findall(r"^\| `([\w.]+)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", write_settings.page(), re.M)
    assert [key for key, *_ in rows] and {key for key, *_ in rows} == set(schema())
    assert not [key for key, _, values, _, sentence in rows if not values or len(sentence.split()) < 2]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link} leads nowhere"
        if heading:
            titles = re.findall(r"^#+ (.*)", target.read_text(encoding="utf-8"), re.M)
            assert heading in [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def test_files_that_the_readme_names_are_there():
    """docs/*, tools/*, config/* and requirements files in backquotes or links."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w/])((?:docs|tools|config|tests|spot)/[\w/-]+\.(?:md|py|yaml|csv|png))", text))
    assert len(named) > 10 and not [name for name in sorted(named) if not (ROOT / name).is_file()]
