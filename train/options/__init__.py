"""Options of runs.

``networks`` has the table of networks and the options that each takes, ``checks`` what goes
together.
"""
