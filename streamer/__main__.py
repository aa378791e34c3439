"""`python -m streamer` is the `streamer` program."""

import sys

from streamer.cli import main

sys.exit(main())
