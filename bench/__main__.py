"""`python -m bench`, and the command `bench`."""

import sys

from bench import streams


def main() -> int:
    """Run the command line of this process; 1 where what it printed could not be written."""
    streams.secure()
    from bench.cli import main as command

    code = command()
    error = streams.unwritten()
    if error is not None:
        print(f"bench: cannot write standard output: {error.strerror}", file=sys.stderr)
    return code or int(error is not None)


if __name__ == "__main__":
    sys.exit(main())
