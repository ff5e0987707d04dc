"""Repairs the store of a stopped server, as far as what is left of it allows."""

from datetime import UTC, datetime

from trtserve.formats.backends import backend_of
from trtserve.options.engine_options import EngineOptions
from trtserve.settings import Settings
from trtserve.store.check import LostPlan, check_is_store, identified
from trtserve.store.database import StoredEngine
from trtserve.store.opening import Opening
from trtserve.store.staging import engine_id
from trtserve.store.store import Store


def repair(settings: Settings, *, use_database: bool = False) -> list[str]:
    """Repair the metadata and serve plans without a row again; returns a sentence for each repair.

    Raises Conflict if a server has the store open, and NotFound if there is no store.
    """
    check_is_store(settings.store)
    store = Store(settings.store, Opening.DATABASE if use_database else Opening.REBUILD)
    try:
        return [*store.notes, *_bring_back(store, settings)]
    finally:
        store.close()


def _bring_back(store: Store, settings: Settings) -> list[str]:
    """Opening the store has set aside every plan without a row: the whole ones go back."""
    done = []
    for path in store.aside.entries():
        plan = identified(path)
        if plan is None:
            continue
        engine = next((e for e in store.engines() if e.digest == plan.digest), None)
        if engine is None:
            engine = _defaults(plan, settings)
            store.bring_back(path, engine)
            done.append(
                f"The {plan.format} plan {plan.digest} is engine {engine.id} again, with default options; "
                "its names are lost: upload it again with a name, which takes no time."
            )
        elif store.is_damaged(engine):
            store.bring_back(path, engine)
            done.append(f"Engine {engine.id} has its plan again, which had been set aside.")
    return done


def _defaults(plan: LostPlan, settings: Settings) -> StoredEngine:
    return StoredEngine(
        id=engine_id(plan.digest),
        digest=plan.digest,
        format=plan.format,
        backend=backend_of(plan.format).name,
        options=EngineOptions().decided(settings),
        plan_bytes=plan.size,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
