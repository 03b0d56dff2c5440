"""``python -m fastvi``."""

import sys

from fastvi.cli.main import main

sys.exit(main())
