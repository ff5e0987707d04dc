"""How much the long GPU tests do, unless the environment says otherwise."""

import os

SECONDS = float(os.environ.get("GPU_SECONDS", "60"))
"""How long threads ask engines at the same time."""

DAMAGED_PLANS = int(os.environ.get("GPU_DAMAGED_PLANS", "300"))
CYCLES = int(os.environ.get("GPU_CYCLES", "200"))
"""How many loads and unloads, and how many failed loads."""
