"""The settings files and class lists of `config/`, wherever SPOT is installed."""

from pathlib import Path

FOLDER = "config"
HERE = Path(__file__).parent
# Beside the package in a clone, in it where it was installed.
PLACES = (HERE / "settings_files", HERE.parent / FOLDER)


def shipped(path):
    """The Path of a file; a relative one such as config/sbhar.yaml that is not here is the one that comes with SPOT."""
    path = Path(path)
    if path.parent == Path(FOLDER) and not path.exists():
        return next((place / path.name for place in PLACES if (place / path.name).is_file()), path)
    return path
