"""The process of a job: the command line at low priority, which ends when the streamer that started it does."""

import os
import sys
import threading

NICENESS = 15  # of 19; the process gets a thirtieth of the CPU time that the cameras want as well


def main() -> int:
    """Run the command of the arguments and return its exit code."""
    os.nice(NICENESS)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    from streamer.cli import main as command

    return command(sys.argv[1:])


def _end_with_parent() -> None:
    """Wait for the end of standard input, which nobody writes to: the streamer holds its other end."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
