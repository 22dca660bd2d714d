"""What a person does with a run: preview a sample, check the doubtful labels first, explain a label, compare two runs,
import corrections. The files of a run come in; contact sheets, tables and the store of corrected labels go out. Called
by the command line.
"""
