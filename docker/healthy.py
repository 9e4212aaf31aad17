"""Whether a tracking server answers: the health check of both images. `python healthy.py [ADDRESS]`."""

import os
import sys
import urllib.error
import urllib.request

SECONDS = 5.0


def healthy(address: str) -> bool:
    """Return whether the server at an address says that it is well; none has to where the address is none of HTTP's."""
    if not address.startswith(("http://", "https://")):
        return True
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=SECONDS) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


if __name__ == "__main__":
    sys.exit(not healthy((sys.argv[1:] or [os.environ.get("MLFLOW_TRACKING_URI", "")])[0]))
