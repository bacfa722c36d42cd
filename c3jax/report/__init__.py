"""Pages and pictures of runs, audits and logs."""
