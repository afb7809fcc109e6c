"""Which version of this code made something."""

import subprocess
from pathlib import Path


def git_commit():
    """The commit of this code, with `-dirty` where files differ from it; "unknown" where it is in no git checkout.

    An installed package may lie in the git checkout of something else, so git is asked whether this very file is its.
    """
    folder = Path(__file__).parent
    try:
        _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)
        return _git(folder, "describe", "--always", "--dirty", "--abbrev=40")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(folder, *words):
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
