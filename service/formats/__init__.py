"""What a plan is: told from its first bytes."""
