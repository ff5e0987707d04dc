"""What lies beside the database of a store, from which lost rows are mended."""

from trtserve.formats.format import Format
from trtserve.formats.sniff import sniff
from trtserve.formats.tensorrt_head import HEAD_BYTES
from trtserve.store.folder import PLAN_NAME, SOURCE_NAME, Layout, named
from trtserve.store.opening import Beside
from trtserve.store.plan_file import is_plain


def beside_database(layout: Layout) -> Beside:
    """The sizes and formats of the plans in a store, and of the models that plans are built from."""
    plans = {path.stem: path for path in named(layout.plans, PLAN_NAME)} if layout.plans.is_dir() else {}
    models = {path.stem: path for path in named(layout.built, SOURCE_NAME)} if layout.built.is_dir() else {}

    def format_of(digest: str) -> str | None:
        if digest in models:
            return Format.TENSORRT
        try:
            if not is_plain(plans[digest]):
                return None
            with plans[digest].open("rb") as file:
                return sniff(file.read(HEAD_BYTES)).format
        except OSError:
            return None

    return Beside({digest: path.lstat().st_size for digest, path in (models | plans).items()}, format_of)
