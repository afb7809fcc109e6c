"""The installed Chromium for the tests of pages; `make test-browser` runs them, or skips them with a message."""

import contextlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None,
                                    reason="no Chromium is installed (Debian: apt-get install chromium)")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]


@contextlib.contextmanager
def chromium():
    """A headless Chromium; each `new_context` of it has a storage of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, headless=True)
        yield browser
        browser.close()


class Watched:
    """A page that is opened: `asked`, the addresses that it asked for; `faults`, what it wrote to the console."""

    def __init__(self, context):
        self.page, self.asked, self.faults = context.new_page(), [], []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))

    def open(self, path):
        self.page.goto(Path(path).as_uri())
        return self.page

    def keep(self, name, **options):
        """A picture of what is to be seen, where SCREENSHOTS=FOLDER asks for it."""
        if folder := os.environ.get("SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png", **options)


def brightness(color):
    """Mean of red, green and blue of a CSS color as the browser says it."""
    return np.mean([float(part) for part in color.strip("rgba()").split(",")[:3]])
