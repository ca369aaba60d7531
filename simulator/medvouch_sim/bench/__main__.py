"""`python -m medvouch_sim.bench`."""

import sys

from medvouch_sim.bench.program import main

sys.exit(main())
