"""Plans by digest in a folder that many read: of this machine, or in S3, by moto's server."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner
from moto.server import ThreadedMotoServer

from trtserve.errors import InvalidInput, Unavailable
from trtserve.folder.files import BLOCK_BYTES
from trtserve.ray.__main__ import main
from trtserve.ray.shared_plans import SharedPlans, publish

pytestmark = pytest.mark.anyio

PLAN = b"plan" * (BLOCK_BYTES // 4) + b"end"
DIGEST = hashlib.sha256(PLAN).hexdigest()


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket of a server with the API of S3."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": host,
        }.items():
            environment.setenv(name, value)
        fsspec.filesystem("s3").mkdir("plans-of-all")
        yield "s3://plans-of-all"
    server.stop()


@pytest.fixture(params=["folder", "S3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder of a test's own that is not there yet."""
    if request.param == "folder":
        return str(tmp_path / "new" / "plans")
    return f"{request.getfixturevalue('bucket')}/{tmp_path.name}"


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(PLAN)
    return path


async def read(plans: SharedPlans, digest: str) -> bytes:
    return b"".join([block async for block in plans.blocks(digest)])


async def test_what_is_published_can_be_read_by_its_digest(url: str, plan: Path) -> None:
    assert publish(plan, url) == DIGEST
    plans = SharedPlans(url)
    assert await plans.size(DIGEST) == len(PLAN)
    assert await read(plans, DIGEST) == PLAN


def test_publishing_again_changes_nothing(url: str, plan: Path) -> None:
    publish(plan, url)
    files, root = fsspec.core.url_to_fs(url)
    before = files.modified(f"{root}/{DIGEST}")
    assert publish(plan, url) == DIGEST
    assert [Path(name).name for name in files.ls(root, detail=False)] == [DIGEST]
    assert files.modified(f"{root}/{DIGEST}") == before


async def test_a_plan_that_was_cut_off_is_published_whole(url: str, plan: Path) -> None:
    files, root = fsspec.core.url_to_fs(url)
    files.makedirs(root, exist_ok=True)
    files.pipe_file(f"{root}/{DIGEST}", PLAN[:100])
    publish(plan, url)
    assert await read(SharedPlans(url), DIGEST) == PLAN


async def test_a_missing_plan_says_how_to_publish_it(url: str, plan: Path) -> None:
    publish(plan, url)
    missing = "0" * 64
    with pytest.raises(Unavailable, match=f"{missing} cannot be read: .*publish PLAN {url}") as refusal:
        await SharedPlans(url).size(missing)
    assert refusal.value.retry_after is not None


def test_a_folder_that_is_not_there_names_the_argument(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^plans, among the application's arguments, is .*not a folder"):
        SharedPlans(str(tmp_path / "nowhere"))


def test_a_url_that_nothing_reads_is_refused_by_either_side(plan: Path) -> None:
    with pytest.raises(InvalidInput, match=r"plans, .* nothing://plans"):
        SharedPlans("nothing://plans")
    with pytest.raises(InvalidInput, match=r"nothing://plans cannot be used.*trtserve\[remote\]"):
        publish(plan, "nothing://plans")


def test_the_command_prints_the_digest_or_a_sentence(url: str, plan: Path) -> None:
    done = CliRunner().invoke(main, ["publish", str(plan), url])
    assert (done.exit_code, done.output) == (0, f"{DIGEST}\n")
    for folder in ("nothing://plans", "/proc/plans"):
        done = CliRunner().invoke(main, ["publish", str(plan), folder])
        assert done.exit_code == 1
        assert done.output.startswith("Error: ")
        assert folder in done.output
