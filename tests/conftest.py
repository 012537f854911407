"""Property tests draw new examples on every run, except in continuous integration, which has to be repeatable."""

import os

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("repeatable")
