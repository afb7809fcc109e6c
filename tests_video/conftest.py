"""Tests of videos: skipped, with a message, where the packages of requirements-video.txt are missing."""

import pytest

for package in ("av", "transformers"):
    pytest.importorskip(package, reason=f"{package} is not installed; make test-video")
