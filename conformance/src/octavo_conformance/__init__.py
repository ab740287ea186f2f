"""Conformance: finds a platform as users do, and proves each promise that it makes.

    subject     the platform under test, and where it came from
    case        one promise as a function that fails in words; cases know no platform
    bench       what a case works with: the opened device, and programs of one node
    level0..2   the cases: the package, the device, the ops against the oracle
    running     runs cases one after the other; a crash of one stops none of the others
    report      what was found, for people and for machines
    mutants     platforms with a planted bug, each of which the cases have to find

A plugin author runs `octavo-conformance run --device NAME`, or writes one test file:
`from octavo_conformance.suite import *`. Nothing here names a plugin.
"""
