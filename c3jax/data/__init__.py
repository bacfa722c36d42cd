"""Where questions come from, and the tokens they are spelled in."""
