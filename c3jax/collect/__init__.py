"""Policy and questions to a scored, credited batch."""
