"""Classes of tests: those of unittest, and plain ones with methods named `test..`."""

import unittest


class _Outcome(unittest.TestResult):
    """A result that hands each test to a recorder.

    Attributes:
        recorder: a `grader.Recorder`.
    """

    def __init__(self, recorder):
        super().__init__()
        self.recorder = recorder

    def addSuccess(self, test):
        self.recorder.checked(True)

    def addError(self, test, err):
        self.recorder.failed(err[1])

    addFailure = addError

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.recorder.failed(err[1])

    def addUnexpectedSuccess(self, test):
        self.recorder.checked(False)

    def addExpectedFailure(self, test, err):
        self.recorder.checked(True)


def run(kind: type, names: list[str], recorder) -> None:
    """Runs methods of a class, a check each.

    Args:
        kind: a class of unittest's, or one that is made without arguments.
        names: of its methods that make a check.
        recorder: a `grader.Recorder`.
    """
    if issubclass(kind, unittest.TestCase):
        unittest.TestSuite(map(kind, names)).run(_Outcome(recorder))
        return
    for name in names:
        try:
            getattr(kind(), name)()
            recorder.checked(True)
        except BaseException as error:
            recorder.failed(error)
