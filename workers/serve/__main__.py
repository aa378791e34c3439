"""`python -m workers.serve` is `swinface worker`: how a streamer starts a worker of its own."""

import sys

from workers.cli import main

sys.exit(main(["worker", *sys.argv[1:]]))
