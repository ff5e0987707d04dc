"""An inference request from its parts to its answer, whichever protocol brought it."""
