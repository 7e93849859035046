"""Alembic's folder: `versions/` holds one file a step, never edited once released."""
