"""The commands of the command line, by theme: training, using what was trained, and data.

A command takes the words behind its name and gives an exit code. Each is thin: the form of its flags, one call of
the package, and what is printed of the result. What needs torch or numpy is imported only inside a command.
"""
