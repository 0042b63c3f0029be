"""`python -m mriqf`."""

import sys

from mriqf.cli import main

sys.exit(main())
