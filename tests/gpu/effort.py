"""How much the long GPU tests do, and where plans are kept, unless the environment says otherwise."""

import os
from pathlib import Path

SECONDS = float(os.environ.get("GPU_SECONDS", "60"))
"""How long threads ask engines at the same time."""

DAMAGED_PLANS = int(os.environ.get("GPU_DAMAGED_PLANS", "300"))
CYCLES = int(os.environ.get("GPU_CYCLES", "200"))
"""How many loads and unloads, and how many failed loads."""

ROTATED = int(os.environ.get("GPU_ROTATED", "12"))
"""How many engines share a budget that holds a third of them."""

PLANS = Path(os.environ["GPU_PLANS"]) if "GPU_PLANS" in os.environ else None
"""Where built plans are kept, for later sessions on the same kind of GPU; none: until the session ends."""
