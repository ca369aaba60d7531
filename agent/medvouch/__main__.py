"""`python -m medvouch`."""

import sys

from medvouch.cli.main import main

sys.exit(main())
