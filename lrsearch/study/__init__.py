"""What a study is, and how it is kept: its settings, its trials, journals and databases."""
