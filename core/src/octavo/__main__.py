"""`python -m octavo`: the command line, where its script is not on the path."""

import sys

from octavo.cli.main import main

sys.exit(main())
