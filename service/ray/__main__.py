"""python -m trtserve.ray publish PLAN FOLDER."""

from pathlib import Path

import click

from trtserve.errors import TrtserveError
from trtserve.ray.shared_plans import SharedPlans


@click.group()
def main() -> None:
    """Plans for the replicas of a Ray application."""


@main.command()
@click.argument("plan", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder")
def publish(plan: Path, folder: str) -> None:
    """Put PLAN into FOLDER (a path, or a URL such as s3://bucket/plans), and print its SHA-256."""
    try:
        click.echo(SharedPlans(folder).publish(plan))
    except (TrtserveError, OSError) as failure:
        raise click.ClickException(str(failure)) from failure


if __name__ == "__main__":
    main(prog_name="python -m trtserve.ray")
