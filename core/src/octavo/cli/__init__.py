"""The command line: one file a command, each with `add` (its flags) and `run` (its work).

`main` chooses the command and turns errors on purpose into one message. Commands import what
they need when they run, so that `octavo --help` is quick and `octavo devices` needs no server.
"""
