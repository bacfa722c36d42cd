"""Runs untrusted programs against tests that they never see.

    host (trainer)  --control socket-->  server  --fork-->  grader, candidate

The *host* sends a program and its tests as descriptors of memory files. The *server*,
a clean Python of its own, forks two confined processes without reading either: the
*candidate* loads the program and answers calls, the *grader* runs the tests, calls the
candidate through a socket, and reports to the host by a pipe that the candidate never
had. A program can only harm its own process, and so change its answers, nothing else.

Everything here but `client` runs inside the server, which knows the standard library
only and loads this package by itself, hence the relative imports. What may be asked of
the program about its objects is written in `remote`, which function or object of the
tests it may use in `grader.serve`. Programs that read and print have neither: see
`printing`, and `cases` for what is compared.
"""
