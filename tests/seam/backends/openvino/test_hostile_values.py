"""Runs part of the hostile sweep: operators that trust values, each in its own child process."""

import subprocess
import sys

CASES = (
    "argmax_default_axis_example@|compress_0|constantofshape_int_zeros|div@|div_int32_trunc|expand_dim_changed|gather_0"
    "|gather_elements_0|gathernd_example_int32@|gru_seq_length|loop11|mod_int64_fmod|edge_pad"
    "|reversesequence_batch|roialign_aligned_false|scatter_elements_with_axis|scatternd@|slice@|top_k@"
)
"""One operator for each kind of guard."""


def test_no_value_ends_the_process_hangs_it_or_changes_an_answer() -> None:
    command = [sys.executable, "-m", "tests.hostile", "--only", f"^test_({CASES})"]
    sweep = subprocess.run(command, capture_output=True, text=True, check=False)
    assert sweep.returncode == 0, sweep.stdout + sweep.stderr
    assert "'fine'" in sweep.stdout
