"""Plans by digest in a folder that many read: of this machine, or of a store in memory as an object store."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from trtserve.errors import InvalidInput, NotFound, Unavailable
from trtserve.ray.shared_plans import BLOCK_BYTES, SharedPlans

pytestmark = pytest.mark.anyio

PLAN = b"plan" * (BLOCK_BYTES // 4) + b"end"
DIGEST = hashlib.sha256(PLAN).hexdigest()


@pytest.fixture(params=["folder", "object store"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "new" / "plans")
        return
    yield "memory://bucket/plans"
    files = fsspec.filesystem("memory")
    if files.exists("/bucket"):
        files.rm("/bucket", recursive=True)


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(PLAN)
    return path


async def read(plans: SharedPlans, digest: str) -> bytes:
    return b"".join([block async for block in plans.blocks(digest)])


async def test_what_is_published_can_be_read_by_its_digest(url: str, plan: Path) -> None:
    plans = SharedPlans(url)
    assert plans.publish(plan) == DIGEST
    assert await plans.size(DIGEST) == len(PLAN)
    assert await read(plans, DIGEST) == PLAN


async def test_publishing_again_changes_nothing(url: str, plan: Path) -> None:
    plans = SharedPlans(url)
    plans.publish(plan)
    files, root = fsspec.core.url_to_fs(url)
    before = files.modified(f"{root}/{DIGEST}")
    assert plans.publish(plan) == DIGEST
    assert [Path(name).name for name in files.ls(root, detail=False)] == [DIGEST]
    assert files.modified(f"{root}/{DIGEST}") == before


async def test_a_plan_that_was_cut_off_is_published_whole(url: str, plan: Path) -> None:
    files, root = fsspec.core.url_to_fs(url)
    files.makedirs(root)
    files.pipe_file(f"{root}/{DIGEST}", PLAN[:100])
    plans = SharedPlans(url)
    plans.publish(plan)
    assert await read(plans, DIGEST) == PLAN


async def test_a_missing_plan_says_how_to_publish_it(url: str) -> None:
    with pytest.raises(NotFound, match=f"There is no plan {DIGEST} in {url}. Put it there: python -m"):
        await SharedPlans(url).size(DIGEST)
    with pytest.raises(NotFound, match="There is no plan"):
        await read(SharedPlans(url), DIGEST)


async def test_a_folder_that_cannot_be_read_is_a_shortage_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    plans = SharedPlans(str(tmp_path / "file"))
    with pytest.raises(Unavailable, match=r"cannot be read from .*: NotADirectoryError: Not") as refusal:
        await plans.size(DIGEST)
    assert refusal.value.retry_after is not None


def test_a_url_that_needs_another_package_says_so() -> None:
    with pytest.raises(InvalidInput, match=r"nothing://plans.*install what fsspec needs"):
        SharedPlans("nothing://plans")
