"""The command line: `espressivo VERB THING [options]`. Parse, call one public function, print.

Nothing is imported before a verb runs, so that help appears at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from espressivo.cli.parser import parse
from espressivo.errors import EspressivoError

SUCCESS, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code: 0 done, 1 failed, 2 misused, 130 interrupted.

    A mistake espressivo can explain is one line on standard error. Anything else is a bug and
    keeps its traceback.
    """
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
        return options.run(options) or SUCCESS
    except EspressivoError as error:
        print(f"espressivo: {' '.join(str(error).split())}", file=sys.stderr)
        return MISUSED
    except KeyboardInterrupt:
        print("espressivo: interrupted; nothing was written", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has left; Python would complain again while closing it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
