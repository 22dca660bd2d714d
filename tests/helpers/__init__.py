"""What several files of tests use: data, tiny models, and ways to run the commands."""
