"""python -m trtserve.ray publish PLAN FOLDER."""

from pathlib import Path

import click

from trtserve.errors import TrtserveError
from trtserve.ray.shared_plans import publish as publish_plan


@click.group()
def main() -> None:
    """Plans for the replicas of a Ray application."""


@main.command()
@click.argument("plan", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder")
def publish(plan: Path, folder: str) -> None:
    """Put PLAN into FOLDER (a path, or a URL such as s3://bucket/plans), and print its SHA-256."""
    try:
        click.echo(publish_plan(plan, folder))
    except TrtserveError as failure:
        raise click.ClickException(str(failure)) from failure
    except Exception as failure:  # of a file system of fsspec's
        raise click.ClickException(f"{folder}: {type(failure).__name__}: {failure}") from failure


if __name__ == "__main__":
    main(prog_name="python -m trtserve.ray")
