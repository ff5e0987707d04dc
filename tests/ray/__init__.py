"""Ray on the loopback interface only. It reads this when it is imported, in this process and in its own."""

import os

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Without this, Ray takes another address of the machine for 127.0.0.1.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
