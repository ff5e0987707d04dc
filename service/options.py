"""How an engine is to be stood up, as its upload asks for it."""

from dataclasses import asdict, dataclass
from typing import Any

from service.settings import Settings


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
    preferred_batch_sizes: str | None = None  # canonical, see service/batching.py
    batch_dims: str | None = None  # canonical

    def asked(self) -> dict[str, Any]:
        """What is asked for, by its name."""
        return {option: value for option, value in asdict(self).items() if value is not None}

    def decided(self, settings: Settings) -> dict[str, Any]:
        """A value for each option, by its name."""
        return {option: getattr(settings, option, "") for option in asdict(self)} | self.asked()
