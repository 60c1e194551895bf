"""`python -m espressivo.cli`, for where the command is not on the path."""

import sys

from espressivo.cli import main

sys.exit(main())
