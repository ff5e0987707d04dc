"""docs/production.md, pasted in order into a shell, makes a scraped, alerting, authenticated service.

The shell has file systems, processes and a network of its own: what it writes to /etc, /opt and the like is
gone with it, and its ports are nobody else's. What the page installs is there already, and instead of systemd
a few lines start what its units start.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "production.md"
CHANGED = ("etc", "opt", "root", "usr/local", "var")
PRESENT = ("prometheus", "prometheus-alertmanager", "promtool", "openssl", "systemd-sysusers", "curl")
OWN = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]

PREPARE = """
set -euo pipefail
ip link set lo up
mount -t tmpfs own {own}
PIDS={own}
for folder in {changed}; do
  upper={own}/$folder/upper work={own}/$folder/work
  mkdir -p $upper $work
  mount -t overlay own -o "lowerdir=/$folder,upperdir=$upper,workdir=$work" "/$folder"
done
rm -rf /opt/trtserve /var/lib/trtserve /etc/trtserve /usr/local/bin/trtserve
apt-get() {{ :; }}
make() {{ [ "$*" = install ] && mkdir -p /opt && ln -sfn {venv} /opt/trtserve; }}
/opt/trtserve/bin/pip() {{ [ "$*" = "install onnx" ]; }}
"""
# The units of Debian's packages run these programs with no arguments, in these folders.
SYSTEMD = """
unit_trtserve() {
  local as="setpriv --reuid trtserve --regid trtserve --init-groups" start
  $as test -r "$(realpath /opt/trtserve/bin/trtserve)" || as=  # the tests' own environment is only for root
  install -d -m 700 -o trtserve -g trtserve /var/lib/trtserve
  start=$(sed -n 's/^ExecStart=//p' /etc/systemd/system/trtserve.service)
  set -a; TRTSERVE_STORE=/var/lib/trtserve; . /etc/trtserve/settings.env; set +a
  exec ${as:-env} $start > /var/log/trtserve.out 2> /var/log/trtserve.log
}
unit_prometheus() {
  cd /var/lib && exec prometheus --config.file /etc/prometheus/prometheus.yml > /var/log/prometheus.log 2>&1
}
unit_prometheus-alertmanager() {
  cd /var/lib && exec prometheus-alertmanager --config.file /etc/prometheus/alertmanager.yml \
    --cluster.listen-address= > /var/log/alertmanager.log 2>&1
}
systemctl() {
  local unit=${!#} pid=$PIDS/${!#}
  case $1 in
    daemon-reload) ;;
    enable | start | restart)
      if [ -e $pid ]; then kill "$(cat $pid)" && wait "$(cat $pid)" || true; fi
      (unit_$unit) & echo $! > $pid
      [ $unit = trtserve ] || return 0
      until grep -q https: /var/log/trtserve.out; do kill -0 $!; sleep 0.1; done ;;
    stop) kill "$(cat $pid)"; wait "$(cat $pid)" || true; rm $pid ;;
  esac
}
"""


def blocks() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def quickly(text: str) -> str:
    """The text with shorter waits: as it stands, a server counts as down only after two minutes."""
    text = text.replace("15s", "500ms").replace("group_wait: 5s", "group_wait: 0s")
    return text.replace(
        "cp deploy/alerts.yml /etc/prometheus/alerts.yml",
        "sed 's/for: .*/for: 1s/' deploy/alerts.yml > /etc/prometheus/alerts.yml",
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make file systems of its own")
def test_the_page_makes_a_scraped_alerting_authenticated_service(tmp_path: Path) -> None:
    missing = [name for name in PRESENT if shutil.which(name) is None]
    assert not missing, (
        f"{', '.join(missing)}: on Debian, apt-get install prometheus prometheus-alertmanager systemd"
    )
    if subprocess.run([*OWN, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody make namespaces")
    own = tmp_path / "own"
    own.mkdir()
    prepared = PREPARE.format(own=own, changed=" ".join(CHANGED), venv=Path(sys.executable).parents[1])
    script = [prepared, SYSTEMD]
    for number, block in enumerate(blocks()):
        script += [f"printf '\\n-- block {number}\\n'", quickly(block)]
    script += ["cat /var/log/trtserve.log", "ls /var/backups"]
    file = tmp_path / "page.sh"
    file.write_text("\n".join(script))
    ended = subprocess.run(
        [*OWN, "bash", str(file)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=240
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = re.split(r"^-- block \d+\n", ended.stdout, flags=re.MULTILINE)[1:]
    asked = next(each for each, block in zip(said, blocks(), strict=True) if "ask()" in block)
    assert re.findall(r"^\d{3}$", asked, re.MULTILINE) == ["200", "403", "401"]
    assert '"data":[2.0,4.0,6.0,8.0]' in asked
    assert "TrtserveDown" in ended.stdout
    assert re.search(r"^trtserve-\d{4}-\d\d-\d\d$", ended.stdout, re.MULTILINE)
