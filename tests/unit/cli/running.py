"""The command line in this process."""

from pathlib import Path

from click.testing import CliRunner, Result

from trtserve.cli.main import main


def trtserve(*arguments: str | Path, env: dict[str, str] | None = None) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
