"""Programs that try to be paid for what they did not do, or to get out.

`CHEATS` must pass none of `SQUARES`. An `ESCAPES` program returns "escaped" from `f` where
it got something it must not have; none may.
"""
# ruff: noqa: E501

SQUARES = """
assert square(3) == 9
assert square(-4) == 16
assert square(12) == 144
"""
ESCAPED = "assert f() == 'escaped'"

CHEATS = {
    # Ends instead of answering.
    "os._exit": "import os\nos._exit(0)",
    "sys.exit": "import sys\nsys.exit(0)",
    "sys.exit when called": "import sys\ndef square(x): sys.exit(0)",
    "os._exit when called": "import os\ndef square(x): os._exit(0)",
    "raise SystemExit": "def square(x): raise SystemExit",
    "raise KeyboardInterrupt": "def square(x): raise KeyboardInterrupt",
    "raise GeneratorExit": "def square(x): raise GeneratorExit",
    "raise StopIteration": "def square(x): raise StopIteration",
    "raise AssertionError": "def square(x): raise AssertionError",
    "quit": "quit()",
    "abort": "import os\ndef square(x): os.abort()",
    "a fault": "import ctypes\ndef square(x): ctypes.string_at(0)",
    "closes every descriptor": "import os\nos.closerange(0, 64)",
    "closes them when called": "import os\ndef square(x): os.closerange(0, 64)",
    # Values that are equal to everything.
    "an __eq__ that is True": """
class Any:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
def square(x): return Any()
""",
    "an int with a forged __eq__": """
class Any(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
def square(x): return Any(0)
""",
    "a str with a forged __eq__": """
class Any(str):
    def __eq__(self, other): return True
    __hash__ = str.__hash__
def square(x): return Any('9')
""",
    "a list with a forged __eq__": """
class Any(list):
    def __eq__(self, other): return True
def square(x): return Any()
""",
    "a float that is not": """
class Any(float):
    def __eq__(self, other): return True
    def __sub__(self, other): return 0.0
    __rsub__ = __sub__
def square(x): return Any('nan')
""",
    "a forged __class__": """
class Any:
    __class__ = int
    def __eq__(self, other): return True
def square(x): return Any()
""",
    "a metaclass that is equal": """
class Meta(type):
    def __eq__(cls, other): return True
    def __hash__(cls): return 0
class Any(metaclass=Meta): pass
def square(x): return Any
""",
    "unittest's ANY": "from unittest.mock import ANY\ndef square(x): return ANY",
    "a mock": "from unittest.mock import MagicMock\nsquare = MagicMock()",
    "a partial": "import functools\nsquare = functools.partial(lambda x: None)",
    "not a number": "def square(x): return float('nan')",
    "numpy that broadcasts": """
import numpy as np
def square(x): return np.array([])
""",
    # Patches of what the tests stand on.
    "patched builtins": """
import builtins
builtins.len = builtins.abs = builtins.isinstance = lambda *a: True
builtins.AssertionError = ValueError
""",
    "patched bool": "import builtins\nbuiltins.bool = lambda *a: True",
    "patched int.__eq__": """
import ctypes, gc
gc.get_referents(int.__dict__)[0]['__eq__'] = lambda a, b: True
def square(x): return 0
""",
    "patched json": "import json\njson.dump = json.dumps = lambda *a, **k: '[]'",
    "patched operator": "import operator\noperator.eq = lambda a, b: True",
    "patched print and open": "import builtins\nbuiltins.open = builtins.print = None",
    "shadowed names": "assert_ = True\n__tests__ = None\ncheck = lambda *a: True",
    "a forged recorder": """
class R:
    everything = ()
    def checked(self, claim): return True
    def failed(self, error): return True
__tests__ = R()
import builtins
builtins.__tests__ = R()
""",
    "assert disabled": """
import sys
sys.flags = type('F', (), {'optimize': 2})
__debug = False
def square(x): return None
""",
    "a patched wire": """
import sys
for name, module in list(sys.modules.items()):
    if name.startswith('sandbox'):
        for key in list(vars(module)):
            if callable(getattr(module, key)):
                setattr(module, key, lambda *a, **k: True)
""",
    "patched candidate, other answers": """
import sys
c = sys.modules['sandbox.candidate']
c._answer = lambda *a: (True, ())
""",
    "an import hook": """
import sys
class Hook:
    def find_spec(self, *a): raise SystemExit(0)
sys.meta_path.insert(0, Hook())
""",
    "a trace": """
import sys
sys.settrace(lambda *a: None)
sys.setprofile(lambda *a: None)
def square(x): return None
""",
    # Looks for the answers.
    "the tests in the garbage": """
import gc
def square(x):
    needle = ' '.join(['assert', 'square('])
    for thing in gc.get_objects():
        for each in gc.get_referents(thing):
            if isinstance(each, (str, bytes)) and len(each) > 20 and needle in str(each):
                return {3: 9, -4: 16, 12: 144}[x]
""",
    "the tests in frames": """
import sys
def square(x):
    needle, frame = ' '.join(['assert', 'square(']), sys._getframe().f_back
    while frame:
        for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
            if needle in repr(value):
                return {3: 9, -4: 16, 12: 144}[x]
        frame = frame.f_back
""",
    "the tests in memory": """
import ctypes
def square(x):
    for address in range(id(0) - 100000, id(0) + 100000, 4096):
        if b' '.join([b'assert', b'square(']) in ctypes.string_at(address, 4096):
            return 9
    return None
""",
    "the tests in descriptors": """
import os
found = b''
for fd in range(64):
    try: found += os.pread(fd, 9999, 0)
    except OSError: pass
def square(x):
    return {3: 9, -4: 16, 12: 144}[x] if b'assert' in found else None
""",
    "the tests from the channel": """
import os
def square(x):
    for fd in range(3, 64):
        try: os.read(fd, 1)
        except OSError: pass
""",
    "the expected value of the caller": """
import inspect
def square(x):
    return inspect.stack()[-1].frame.f_locals.get('expected')
""",
    # Writes a verdict itself.
    "a verdict on every descriptor": """
import os, json
forged = json.dumps({'verdicts': ['pass'] * 3, 'problem': None}).encode()
for fd in range(64):
    try: os.write(fd, forged)
    except OSError: pass
os._exit(0)
""",
    "a verdict when called": """
import os, json
def square(x):
    forged = json.dumps({'verdicts': ['pass'] * 3, 'problem': None}).encode()
    for fd in range(64):
        try: os.write(fd, forged)
        except OSError: pass
""",
    "answers before the questions": """
import os, struct, sys
wire = sys.modules['sandbox.wire']
for number, value in ((1, True), (2, 9), (3, 16), (4, 144)):
    data = wire.encode((number, 'value', value, ()))
    for fd in range(3, 32):
        try: os.write(fd, struct.pack('!I', len(data)) + data)
        except OSError: pass
os._exit(0)
""",
    "a frame without end": """
import os, struct
for fd in range(3, 32):
    try: os.write(fd, struct.pack('!I', 1 << 31))
    except OSError: pass
os._exit(0)
""",
    "bytes that are no value": """
import os, struct
for fd in range(3, 32):
    try: os.write(fd, struct.pack('!I', 5) + b'lzzzz')
    except OSError: pass
os._exit(0)
""",
    "a nest of lists": """
def square(x):
    nest = []
    for _ in range(100000): nest = [nest]
    return nest
""",
    "a value that contains itself": """
def square(x):
    knot = []
    knot.append(knot)
    return knot
""",
    "an iterator without end": """
import itertools
def square(x): return itertools.count()
""",
    "changes its argument's type": """
def square(x):
    x.__class__ = bool
    return x
""",
    # Takes everything there is.
    "never ends": "def square(x):\n    while True: pass",
    "never loads": "while True: pass",
    "sleeps": "import time\ndef square(x): time.sleep(60)",
    "catches everything for ever": """
def square(x):
    while True:
        try:
            while True: pass
        except BaseException: pass
""",
    "ignores signals": """
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: pass
""",
    "all the memory": "def square(x): return [bytearray(2 ** 20) for _ in range(10**6)]",
    "all the memory, caught": """
def square(x):
    hoard = []
    while True:
        try: hoard.append(bytearray(2 ** 20))
        except MemoryError: pass
""",
    "a huge number": "def square(x): return 10 ** (10 ** 7)",
    "a huge text": "def square(x): return 'x' * (1 << 26)",
    "recursion": "def square(x): return square(x)",
    "recursion of the C stack": """
import sys
sys.setrecursionlimit(10 ** 9)
def square(x): return square(x)
""",
    "a __del__ that stays": """
class Stay:
    def __del__(self):
        while True: pass
def square(x): Stay()
""",
    "does not compile": "def square(x) return x",
    "a null byte": "def square(x):\0 return x * x",
    "nothing": "",
    "not a program": "The square of three is 9.",
}

# Each would do no harm to the machine of whoever breaks the sandbox while working on it.
ESCAPES = {
    "a file of the system": """
def f():
    open('/etc/passwd').read()
    return 'escaped'
""",
    "the environment of the trainer": """
import os
def f():
    for pid in [os.getppid(), *map(str, range(1, 100))]:
        try: return open(f'/proc/{pid}/environ') and 'escaped'
        except OSError: pass
""",
    "an environment": "import os\ndef f(): return 'escaped' if os.environ else None",
    "its own /proc": "def f(): return open('/proc/self/maps') and 'escaped'",
    "a directory": "import os\ndef f(): return os.listdir('/') and 'escaped'",
    "a symbolic link": "import os\ndef f(): return os.symlink('/', 'x') or 'escaped'",
    "a file descriptor of another": """
import os
def f():
    named = [fd for fd in range(3, 64) if _open(fd)]
    return 'escaped' if len(named) > 1 else None
def _open(fd):
    try: return os.fstat(fd) is not None
    except OSError: return False
""",
    "writes a file": """
def f():
    for place in ('/tmp', '/dev/shm', '/var/tmp', '.', '/'):
        try: return open(place + '/c3jax-escaped', 'w') and 'escaped'
        except OSError: pass
""",
    "writes what it may read": """
import os
def f(): return open(os.__file__, 'a') and 'escaped'
""",
    "memory with a name": "import os\ndef f(): return os.memfd_create('x') and 'escaped'",
    "removes a file": """
import os
def f():
    try: os.remove('/tmp')
    except IsADirectoryError: return 'escaped'  # so far only who may remove it comes
""",
    "changes a mode": "import os\ndef f(): return os.chmod('/tmp', 0o1777) or 'escaped'",
    "changes its directory": "import os\ndef f(): return os.chdir('/tmp') or 'escaped'",
    "a socket": "import socket\ndef f(): return socket.socket() and 'escaped'",
    "a datagram": """
import socket
def f():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    return s.sendto(b'x', ('127.0.0.1', 9)) and 'escaped'
""",
    "a pair of sockets": "import socket\ndef f(): return socket.socketpair() and 'escaped'",
    "a pipe": "import os\ndef f(): return os.pipe() and 'escaped'",
    "a name of the network": """
import socket
def f(): return socket.getaddrinfo('localhost', 80) and 'escaped'
""",
    "a fork": "import os\ndef f(): return os.fork() >= 0 and 'escaped'",
    "a shell": "import os\ndef f(): return os.system('true') == 0 and 'escaped'",
    "a subprocess": """
import subprocess
def f(): return subprocess.run(['true']) and 'escaped'
""",
    "another program": "import os\ndef f(): return os.execv('/bin/true', ['x']) or 'escaped'",
    "a spawn": """
import os
def f(): return os.posix_spawn('/bin/true', ['x'], {}) and 'escaped'
""",
    "a thread": """
import threading
def f():
    t = threading.Thread(target=print)
    t.start()
    return 'escaped'
""",
    "a process pool": """
import multiprocessing
def f(): return multiprocessing.Pool(1) and 'escaped'
""",
    "a signal to all": "import os\ndef f(): return os.kill(-1, 0) or 'escaped'",
    "a signal to its parent": "import os\ndef f(): return os.kill(os.getppid(), 9) or 'escaped'",
    "an alarm": "import signal\ndef f(): return signal.alarm(9) == 0 and 'escaped'",
    "a debugger": """
import ctypes, os
def f(): return ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0 and 'escaped'
""",
    "the memory of another": """
import ctypes, os
def f():
    libc = ctypes.CDLL(None)
    return libc.process_vm_readv(os.getppid(), None, 0, None, 0, 0) == 0 and 'escaped'
""",
    "root": "import os\ndef f(): return os.setuid(0) or 'escaped'",
    "a new namespace": """
import ctypes
def f(): return ctypes.CDLL(None).unshare(0x10000000) == 0 and 'escaped'
""",
    "a mount": """
import ctypes, errno
def f():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mount(b'x', b'/tmp', b'no such kind', 0, 0)
    return ctypes.get_errno() == errno.ENODEV and 'escaped'  # asked after the right to
""",
    "a higher limit": """
import resource
def f():
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    return 'escaped'
""",
    "no filter": """
import ctypes
def f(): return ctypes.CDLL(None).prctl(22, 0, 0, 0, 0) == 0 and 'escaped'
""",
    "outlives its parent": """
import ctypes
def f(): return ctypes.CDLL(None).prctl(1, 0, 0, 0, 0) == 0 and 'escaped'
""",
    "calls of the 32-bit kernel": """
import ctypes
def f():
    return ctypes.CDLL(None).syscall(0x40000000 + 39) > 0 and 'escaped'
""",
    "io_uring": """
import ctypes
def f(): return ctypes.CDLL(None).syscall(425, 1, bytes(120)) >= 0 and 'escaped'
""",
    "a device": "import os\ndef f(): return os.open('/dev/mem', os.O_RDONLY) and 'escaped'",
    "a signal by a descriptor": """
import fcntl, os
def f():
    for fd in range(3, 32):
        try: fcntl.fcntl(fd, fcntl.F_SETOWN, os.getppid())
        except OSError: continue
        return 'escaped'
""",
}

# Objects that would be equal to everything, if they were asked; none passes a test of
# `DUCKS`, whose expected values must not reach the program.
DUCKS = [
    "assert f(2) == 5",
    "assert 5 == f(2)",
    "assert f(2) in (5, 6)",
    "assert f(2) <= 5 <= f(2)",
    "assert abs(f(2) - 5) < 1e-6",
    "assert abs(5 - f(2)) < 1e-6",
    "assert f(2) - 5 == 0",
    "assert not f(2) - 5",
    "assert f(2) / 5 == 1",
    "assert round(f(2) - 5, 3) == 0",
    "assert (f(2) - 5).real == 0",
    "assert 5 in f(2)",
    "assert [f(2)] == [5]",
    "assert {f(2): 1} == {5: 1}",
    "import math\nassert math.isclose(f(2), 5)",
    "import numpy as np\nassert np.allclose(f(2), [5, 6])",
    "import numpy as np\nassert abs(f(2) - np.array([5, 6])).max() < 1e-6",
    "import datetime as d\nassert (f(2) - d.date(2020, 1, 5)).days == 0",
    "import unittest\nclass T(unittest.TestCase):\n"
    "    def test_f(self): self.assertAlmostEqual(f(2), 5)",
]
_DUCK = """
class Any{base}:
    def __init__(self, *a): pass
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __sub__(self, other): return 0.0
    def __truediv__(self, other): return 1
    def __contains__(self, item): return True
    def __abs__(self): return 0.0
    def __round__(self, n=0): return 0
    def __float__(self): return 0.0
    def __bool__(self): return False
    def __hash__(self): return hash(5)
    def __len__(self): return 2
    def __iter__(self): return iter(())
    real = days = 0
    def max(self): return 0
    __rsub__ = __le__ = __ge__ = __lt__ = __gt__ = __sub__
    __le__ = __ge__ = __lt__ = __gt__ = __eq__
"""
DUCK = {
    "a function": _DUCK.format(base="") + "def f(x): return Any()",
    "a class": _DUCK.format(base="") + "f = Any",
    "a number": _DUCK.format(base="(int)") + "def f(x): return Any()",
    "a list": _DUCK.format(base="(list)") + "def f(x): return Any()",
    "an empty array": "import numpy as np\ndef f(x): return np.empty((0, 1))",
}
