"""The command line: argv in, exit status out.

One module a verb, imported only when used. This is the only room that exits, prints and wires the others together.
Nothing but what parsing needs is imported before the command is started.
"""
