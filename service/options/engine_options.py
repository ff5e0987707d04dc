"""How an engine is to be stood up, as its upload asks for it."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from trtserve.options.batching import NEVER
from trtserve.settings import Settings
from trtserve.store.rows import StoredEngine


@dataclass(frozen=True, kw_only=True)
class Options:
    """None asks for nothing: then the settings decide, or, where there is no setting, it is empty."""

    instances: int | None = None
    max_queue_size: int | None = None
    device: str | None = None
    precision: str | None = None
    cuda_graphs: str | None = None
    max_batch_size: int | None = None
    max_queue_delay_us: int | str | None = None
    latency_target_us: int | None = None
    preferred_batch_sizes: str | None = None  # canonical, see service/options/batching.py
    batch_dims: str | None = None  # canonical

    def asked(self) -> dict[str, Any]:
        """What is asked for, by its name."""
        return {option: value for option, value in asdict(self).items() if value is not None}

    def over(self, stored: StoredEngine) -> StoredEngine:
        """The engine with what is asked for, and else as it is."""
        changed = replace(stored, **self.asked())
        if (
            self.max_batch_size is not None
            and self.max_queue_delay_us is None
            and changed.max_queue_delay_us == NEVER
        ):
            return replace(changed, max_queue_delay_us=0)  # who asks for batches again does not say so twice
        return changed

    def decided(self, settings: Settings) -> dict[str, Any]:
        """A value for each option, by its name."""
        return {option: getattr(settings, option, "") for option in asdict(self)} | self.asked()
