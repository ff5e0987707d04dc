"""The Serve config in deploy/ is one that the application reads."""

from pathlib import Path
from typing import Any

import yaml

from trtserve.ray.config import Arguments, Served
from trtserve.settings import Settings

EXAMPLE = Path(__file__).parents[3] / "deploy" / "ray" / "serve.yaml"


def application() -> dict[str, Any]:
    (application,) = yaml.safe_load(EXAMPLE.read_text())["applications"]
    return dict(application)


def test_its_arguments_and_settings_are_known() -> None:
    arguments = Arguments(**application()["args"])
    assert Settings(**arguments.settings).store == Path("/var/lib/trtserve")


def test_its_user_config_names_an_engine_with_options() -> None:
    (deployment,) = application()["deployments"]
    served = Served.read(deployment["user_config"])
    assert {name: engine.asked() for name, engine in served.engines.items()} == {
        "double": {"max_batch_size": 8}
    }


def test_its_import_path_is_that_of_the_application() -> None:
    module, _, name = application()["import_path"].partition(":")
    source = (EXAMPLE.parents[2] / module.replace("trtserve", "service").replace(".", "/")).with_suffix(".py")
    assert f"def {name}(args: Arguments)" in source.read_text()
