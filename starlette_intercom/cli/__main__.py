"""``python -m starlette_intercom.cli``, for where scripts are not on the path."""

from . import main

main()
