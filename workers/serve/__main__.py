"""Run `swinface worker`; a streamer starts its own worker with `python -m workers.serve`."""

import sys

from workers.cli import main

sys.exit(main(["worker", *sys.argv[1:]]))
