"""What a person does with a run: preview a sample, look at the doubtful labels first, ask where a label came from,
compare two runs, bring corrections back. A run's files come in; sheets, tables and the store of people's work go out.
Called by the command line.
"""
