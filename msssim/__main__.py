"""``python -m msssim REF DIST``: see :mod:`msssim.cli`."""

import sys

from .cli import main

sys.exit(main())
