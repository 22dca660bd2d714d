"""The commands of the command line, one file each: `COMMANDS` in it names the command, its arguments and its function.
The parser finds the files in this folder: a new file is enough for a new command. Called by `cli.command_line`.
"""
