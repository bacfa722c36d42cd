"""Every kind of program and test that people write: what earns, and what does not."""
# ruff: noqa: E501

import json

import pytest

from c3jax.reward import code, messages
from c3jax.reward.sandbox import cases, client


@pytest.fixture(scope="module")
def scorer():
    with code.Scorer(client.Settings(timeout_s=3.0), workers=1) as scorer:
        yield scorer


# Program, tests, whether it earns 1 (else 0).
KINDS = [
    ("def calendar(y,m): return 29", "assert calendar(2024,2)==29", 1),
    (
        "def f(x): return x",
        "def test_a():\n    assert f(1)==1\nif __name__=='__main__':\n    test_a()",
        1,
    ),
    (
        "def f(x): return x",
        "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual(f(1),1)\n    def test_b(self):\n        self.assertEqual(f(2),2)\nif __name__=='__main__':\n    unittest.main()",
        1,
    ),
    (
        "def f(x): return x+1",
        "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual(f(1),1)",
        0,
    ),
    (
        "def f(x): return x",
        "import numpy as np\nnp.testing.assert_allclose(f([1.,2.]),[1.,2.])",
        1,
    ),
    (
        "def f(x): return [3.]",
        "import numpy as np\nnp.testing.assert_allclose(f([1.,2.]),[1.,2.])",
        0,
    ),
    ("def f(x): return x", "if f(1) != 1:\n    raise ValueError('no')", 1),
    ("def f(x): return 2", "if f(1) != 1:\n    raise ValueError('no')", 0),
    (
        "def f(x,y): return x+y",
        '{"fn_name": "f", "inputs": [[1,2]], "outputs": [3]}',
        1,
    ),
    (
        "class N:\n    def __init__(s,v,n=None): s.v=v; s.next=n\ndef make(): return N(1,N(2))",
        "node=make()\nc=0\nwhile node:\n    c+=1\n    node=node.next\nassert c==2\nassert make()",
        1,
    ),
    (
        "def f(x): return 'a1'",
        "import re\nif re.match('a', f(1)):\n    assert f(1) == 'a1'",
        1,
    ),
    (
        "class V:\n    def __init__(s,x): s.x=x\n    def __add__(s,o): return V(s.x+o.x)\n    def __mul__(s,k): return V(s.x*k)\n    def __eq__(s,o): return s.x==o.x\n    def __lt__(s,o): return s.x<o.x\n    def __str__(s): return f'V({s.x})'\n    def __contains__(s,k): return k==s.x\n    def __hash__(s): return 1",
        "assert V(1)+V(2)==V(3)\nassert V(1)<V(2)\nassert str(V(1))=='V(1)'\nassert 1 in V(1)\nassert 2 not in V(1)\nassert isinstance(V(1),V)\nassert V(2)*2==V(4)\nassert (V(2)*2).x==4\nassert sorted([V(2),V(1)])[0].x==1\nassert str(V(1)*2)=='V(2)'\nassert len({V(1),V(1)})==1",
        1,
    ),
    (
        "class D:\n    def __init__(s): s.d={}\n    def __setitem__(s,k,v): s.d[k]=v\n    def __getitem__(s,k): return s.d[k]\n    def __len__(s): return len(s.d)",
        "d=D()\nd['a']=1\nassert d['a']==1\nassert len(d)==1",
        1,
    ),
    (
        "import numpy as np\ndef f(x): return np.array(x)",
        "assert f([1,2]).shape==(2,)\nassert (f([1,2])*2).tolist()==[2,4]\nassert (f([1,2])==[1,2]).all()",
        1,
    ),
    (
        "from collections import namedtuple\nP=namedtuple('P','x y')\ndef f(): return P(1,2)",
        "assert f().x==1\nassert f()==(1,2)\nassert isinstance(f(),P)\nassert f()==P(1,2)",
        1,
    ),
    (
        "def f(g,xs): return g(xs)",
        "assert f(max,[1,2])==2\nassert f(lambda xs: xs[0],[1,2])==1",
        1,
    ),
    (
        "def length(h):\n    n=0\n    while h:\n        n+=1\n        h=h.next\n    return n\ndef rev(h):\n    p=None\n    while h:\n        h.next, p, h = p, h, h.next\n    return p\ndef mk(v): return ListNode(v)",
        "class ListNode:\n    def __init__(self,val=0,next=None):\n        self.val=val\n        self.next=next\nassert length(ListNode(1,ListNode(2)))==2\nassert rev(ListNode(1,ListNode(2))).val==2\nassert mk(5).val==5",
        1,
    ),
    ("def f(): return 1", "def check(c):\n    assert c([1,2])==3\ncheck(sum)", 0),
    ("def sum(x): return 3", "def check(c):\n    assert c([1,2])==3\ncheck(sum)", 1),
    (
        "class E(ValueError):\n    def __init__(s,c): super().__init__('m',c); s.code=c\ndef f(): raise E(4)",
        "try:\n    f()\n    assert False\nexcept E as e:\n    assert e.args==('m',4)\n    assert e.code==4",
        1,
    ),
    (
        "def f():\n    n=0\n    while True:\n        yield n\n        n+=1",
        "import itertools\nassert list(itertools.islice(f(),50))==list(range(50))\ng=f()\nassert next(g)==0 and next(g)==1",
        1,
    ),
    (
        "import asyncio\nasync def f(x):\n    await asyncio.sleep(0.001)\n    return x",
        "import asyncio\nassert asyncio.run(f(1))==1\nasync def t():\n    assert await f(2)==2\nasyncio.run(t())\nasync def u(): return await asyncio.gather(f(1),f(2))\nassert asyncio.run(u())==[1,2]",
        1,
    ),
    (
        "import asyncio\nasync def g(x):\n    return x\ndef f(x): return asyncio.run(g(x))",
        "assert f(1)==1",
        1,
    ),
    (
        "def f(): return 10**6000",
        "assert len(str(f()))==6001\nassert f()==1000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
        1,
    ),
    (
        "from collections import *\ndef f(): return Counter('aab')\ndef g(): return deque([1,2],maxlen=2)\ndef h():\n    d=defaultdict(list)\n    d[1].append(2)\n    return d",
        "from collections import *\nassert f().most_common(1)==[('a',2)]\nassert g().maxlen==2 and g()==deque([1,2])\nassert h()[1]==[2] and h()[7]==[]\nassert isinstance(h(),defaultdict)",
        1,
    ),
    (
        "class S(list):\n    def push(s,x): s.append(x)\n",
        "s=S()\ns.push(1)\nassert s==[1]\nassert len(s)==1",
        1,
    ),
    ("def f(x): return x", "from solution import f\nassert f(1)==1", 1),
    (
        "class C:\n    def __enter__(s): return s\n    def __exit__(s,*a): return True\n    n=1",
        "with C() as c:\n    assert c.n==1",
        1,
    ),
    ("def f(x): return len(x)", "assert f(list(range(10**6)))==10**6", 1),
    (
        "class B:\n    def __init__(s,b): s.b=b\n    def deposit(s,x):\n        s.b+=x\n    def __iadd__(s,x):\n        s.b+=x\n        return s\n",
        "b=B(1)\nb.deposit(2)\nassert b.b==3",
        1,
    ),
    (
        "import enum\nclass C(enum.Enum):\n    R=1\n    G=2\ndef f(): return C.R",
        "assert f() is C.R\nassert f()==C.R\nassert f().value==1\nassert C['G'].name=='G'\nassert C(2)==C.G\nassert len(list(C))==2",
        1,
    ),
    (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x:int\n    y:int=0\n",
        "assert P(1)==P(1,0)\nassert repr(P(1))=='P(x=1, y=0)'\nassert P(1)!=P(2)",
        1,
    ),
    (
        "class L:\n    def __init__(s,xs): s.xs=xs\n    def __iter__(s): return iter(s.xs)\n    def __len__(s): return len(s.xs)\n    def __getitem__(s,i): return s.xs[i]",
        "l=L([1,2,3])\nassert list(l)==[1,2,3]\nassert 2 in l\nassert l[-1]==3\nassert l[0:2]==[1,2]\nassert sum(x for x in l)==6\nassert sorted(l,reverse=True)==[3,2,1]",
        1,
    ),
    (
        "def deco(n):\n    def w(g):\n        def h(*a): return g(*a)*n\n        return h\n    return w",
        "@deco(3)\ndef g(x): return x\nassert g(2)==6",
        1,
    ),
    (
        "class Base:\n    def area(s): return 0\nclass Sq(Base):\n    def __init__(s,a): s.a=a\n    def area(s): return s.a**2",
        "assert isinstance(Sq(2),Base)\nassert issubclass(Sq,Base)\nassert [s.area() for s in [Sq(1),Sq(2)]]==[1,4]\nassert type(Sq(1)).__name__",
        1,
    ),
    (
        "class M:\n    def __init__(s,d): s.d=d\n    def __matmul__(s,o): return s.d*o.d\n    def __neg__(s): return M(-s.d)\n    def __eq__(s,o): return isinstance(o,M) and s.d==o.d\n    def __rmul__(s,k): return M(k*s.d)\n    def __abs__(s): return abs(s.d)\n    def __getattr__(s,n): raise AttributeError(n)",
        "assert M(2)@M(3)==6\nassert -M(2)==M(-2)\nassert 3*M(2)==M(6)\nassert abs(M(-3))==3\nassert not hasattr(M(1),'zzz')",
        1,
    ),
    (
        "def f(s):\n    s.add(3)\n    return s",
        "a={1}\nassert f(a)=={1,3}\nassert a=={1,3}",
        1,
    ),
    (
        "def apply(f,*a,**k): return f(*a,**k)\ndef compose(f,g): return lambda x: f(g(x))",
        "assert compose(lambda x:x+1, lambda x:x*2)(3)==7\nassert apply(sorted,[2,1],reverse=True)==[2,1]\nassert apply(str.upper,'a')=='A'\nfrom functools import partial\nassert apply(partial(pow,2),3)==8",
        1,
    ),
    (
        "def f(it): return [next(it) for _ in range(3)]",
        "import itertools\nassert f(itertools.count(5))==[5,6,7]\nassert f(iter([1,2,3]))==[1,2,3]",
        1,
    ),
    (
        "def f(x):\n    if x<0: raise ValueError('neg')\n    return x",
        "import unittest\nclass T(unittest.TestCase):\n    def test_e(self):\n        with self.assertRaises(ValueError):\n            f(-1)\n        with self.assertRaisesRegex(ValueError,'neg'):\n            f(-2)\n        self.assertRaises(ValueError,f,-1)",
        1,
    ),
    (
        "class Trie:\n    def __init__(s): s.w=set()\n    def insert(s,w): s.w.add(w)\n    def __contains__(s,w): return w in s.w",
        "t=Trie()\nt.insert('a')\nassert 'a' in t\nassert 'b' not in t",
        1,
    ),
    (
        "import numpy as np\ndef f(a):\n    a *= 2\n    return a",
        "import numpy as np\nx=np.arange(3)\ny=f(x)\nassert (x==np.array([0,2,4])).all()\nassert y.sum()==6\nassert np.array_equal(y,[0,2,4])\nassert y.dtype==x.dtype",
        1,
    ),
    (
        "async def g(n):\n    for i in range(n): yield i\n",
        "async def run():\n    return [x async for x in g(3)]\nimport asyncio\nassert asyncio.run(run())==[0,1,2]",
        1,
    ),
    (
        "def f(root):\n    return 0 if root is None else 1+max(f(root.left),f(root.right))",
        "class TreeNode:\n    def __init__(self,val=0,left=None,right=None):\n        self.val=val; self.left=left; self.right=right\ndef check(candidate):\n    assert candidate(TreeNode(1,TreeNode(2)))==2\n    assert candidate(None)==0\ncheck(f)",
        1,
    ),
    (
        "def select(xs,k): return sorted(xs)[k]\ndef bisect(x): return x\ndef queue(x): return x",
        "assert select([3,1],0)==1\nassert bisect(1)==1\nassert queue(2)==2",
        1,
    ),
    (
        "class MyErr(Exception): pass\ndef f(): raise MyErr('a', 2)",
        "try:\n    f()\nexcept Exception as e:\n    err = e\nassert type(err).__name__=='MyErr'\nassert err.args==('a',2)\nassert isinstance(err, MyErr)\nassert str(err)==str(('a',2))",
        1,
    ),
    (
        "import copy\nclass V:\n    def __init__(s,x): s.x=x\n    def __eq__(s,o): return s.x==o.x",
        "import copy\na=V(1)\nb=copy.copy(a)\nc=copy.deepcopy(a)\nassert b.x==1 and c.x==1",
        1,
    ),
]


@pytest.mark.parametrize(("program", "tests", "earned"), KINDS)
def test_a_kind_of_program_earns_what_it_earns_in_python(
    scorer, program, tests, earned
):
    found = scorer.submit(program, tests).result()
    assert found.passed_fraction == earned, found


@pytest.mark.parametrize(
    ("tests", "why"),
    [
        ("print(f(1) == 1)", "makes no check"),
        ("def test_f(client):\n    assert f(client) == 1", "makes no check"),
        ("assert 1 + 1 == 2", "uses nothing of the program"),
        ("assert f( == 1", "no Python"),
        ('{"inputs": [[1]], "outputs": [1]}', "entry_point, or say reward.tests"),
        ("import pytest\nassert f(1) == pytest.approx(1)", "pytest"),
    ],
)
def test_tests_that_pay_every_program_or_none_are_found(tests, why):
    with pytest.raises(ValueError, match=why):
        raise ValueError(code.problem(tests))


def test_tests_that_check_something_have_no_problem():
    assert [code.problem(tests) for _, tests, _ in KINDS] == [None] * len(KINDS)
    assert code.problem('{"inputs": [[1]], "outputs": [1]}', "f") is None


F = "def f(x):\n    return x\n"


@pytest.mark.parametrize(
    ("text", "program"),
    [
        (f"```python\n{F}```\nUsage:\n```python\nprint(f(2))\n```", F),
        (f"```python\n{F}```\n```python\ndef test_f():\n    assert f(1)\n```", F),
        (f"```python\n{F}```\n```python\ndef main():\n    f(1)\nmain()\n```", F),
        (
            f"```python\nimport math\n```\n```python\n{F}    math.e\n```",
            f"import math\n\n{F}    math.e\n",
        ),
        (f"{F}\nThis function returns x.\nDone", F),
        (f"{F}```\nThis function returns x.", F),
        (f"{F}```\nIt is used so:\n```python\nf(3)\n```", F),
        ("1. Do\n   ```python\n   def f(x):\n       return x\n   ```", F),
    ],
)
def test_blocks_that_belong_together_are_the_program(text, program):
    assert messages.extract(text).strip() == program.strip()


def test_the_block_that_defines_what_tests_use_is_the_program():
    text = "```python\ndef f(): 1\n```\n```python\ndef g(): 2\n```"
    assert messages.extract(text, ("f",)).strip() == "def f(): 1"


@pytest.mark.parametrize(
    ("printed", "expected", "right"),
    [
        ("1 2\n", "1 2", True),
        ("1 2  \n3\n\n", "1 2\n3", True),
        ("1  2", "1 2", True),
        ("0.3333333", "0.33333333333", True),
        ("1e0", "1.0", True),
        ("0.334", "0.333", False),
        ("1.0", "1", False),
        ("yes", "YES", False),
        ("1\n2", "1 2", False),
        ("nan", "1.0", False),
        ("3", "1e999", False),
        ("", "1", False),
    ],
)
def test_outputs_are_compared_by_a_rule(printed, expected, right):
    assert cases.is_right(printed, expected) == right


@pytest.fixture(scope="module")
def printer():
    settings = client.Settings(timeout_s=1.0, prelude="import math")
    with code.Scorer(settings, workers=1, tests="stdio") as scorer:
        yield scorer


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        ("print(int(input()) * 2)", "pass"),
        ("import sys\nprint(int(sys.stdin.readline()) * 2)", "pass"),
        ("print(int(open(0).read()) + math.floor(2.5))\nexit()", "pass"),
        ("if __name__ == '__main__':\n    print(4)\n    raise SystemExit(0)", "pass"),
        (
            "import threading\ndef main(): print(4)\nthreading.Thread(target=main).start()",
            "pass",
        ),
        (
            "import atexit, io, sys\nsys.stdout = io.StringIO()\n"
            "atexit.register(lambda: sys.__stdout__.write(sys.stdout.getvalue()))\n"
            "print(4)",
            "pass",
        ),
        ("import atexit\natexit.register(print, 5)", "fail"),
        ("print(5)", "fail"),
        ("print(4)\n1 / 0", "error"),
        ("while True: pass", "timeout"),
        ("x = bytearray(1 << 40)", "memory"),
        ("print(open('/etc/passwd').read())", "forbidden"),
        ("import os\nos._exit(0)", "fail"),
        ("import socket\nsocket.socket()", "forbidden"),
        ("print('4' * 10 ** 7)", "error"),
    ],
)
def test_a_program_that_prints_has_a_verdict_a_case(printer, program, verdict):
    tests = json.dumps({"inputs": ["2\n"], "outputs": ["4\n"], "time_limit_s": 0.5})
    assert printer.submit(program, tests).result().verdicts == (verdict,)


def test_a_case_has_three_descriptors(printer):
    program = """
import os
for fd in range(64):
    try: os.fstat(fd)
    except OSError: continue
    print(fd)
"""
    tests = json.dumps({"inputs": [""], "outputs": ["0\n1\n2"]})
    assert printer.submit(program, tests).result().all_passed


def test_a_case_knows_nothing_of_the_others(printer):
    program = "import builtins\nprint(getattr(builtins, 'n', 0))\nbuiltins.n = 1"
    tests = json.dumps({"inputs": ["", ""], "outputs": ["0", "1"]})
    found = printer.submit(program, tests).result()
    assert found.verdicts == ("pass", "fail")
    assert not found.all_passed


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("assert f(1)", "no JSON"),
        ('{"inputs": [], "outputs": []}', "a case or more"),
        ('{"inputs": ["1"], "outputs": []}', "1 inputs for 0"),
        ('{"inputs": ["1"], "outputs": [1]}', "must be text"),
        ('{"inputs": ["1"], "outputs": [" "]}', "no output in any case"),
        ('{"inputs": ["1"], "outputs": ["1"], "time_limit_s": 0}', "above 0"),
        ('{"inputs": ["1"], "outputs": ["1"], "memory_limit_mb": 1e999}', "finite"),
    ],
)
def test_cases_that_are_none_are_found(text, why):
    with pytest.raises(ValueError, match=why):
        cases.read(text)
    assert code.problem(text, tests="stdio")


def test_a_timeout_is_not_remembered_for_good(scorer):
    tests = "import time\ntime.sleep(0)\nassert f() == 1"
    program = "import time\ntime.sleep(9)\ndef f(): return 1"
    first = scorer.submit(program, tests)
    assert "timeout" in first.result().verdicts
    assert scorer.submit(program, tests) is not first
    known = scorer.submit(F, "assert f(1) == 1")
    assert known.result().all_passed
    assert scorer.submit(F, "assert f(1) == 1") is known


def test_a_prelude_that_fails_is_refused():
    with pytest.raises(ValueError, match="prelude raises ModuleNotFoundError"):
        client.Server(client.Settings(prelude="import nonesuch"))
