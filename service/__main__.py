"""`python -m trtserve`: the same as the command `trtserve`."""

from trtserve.cli.main import main

main(prog_name="trtserve")
