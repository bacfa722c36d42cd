"""What the tests' worker processes answer."""

import os
import pathlib
import sys
import time

print("noise while it is imported")


def answer(request: dict):
    """Does what it is told."""
    print("noise", flush=True)
    os.write(1, b'{"answer": "forged"}\n')
    match request["do"]:
        case "echo":
            return request["with"]
        case "sleep":
            time.sleep(60)
        case "die":
            os._exit(1)
        case "fail":
            raise ZeroDivisionError("a fault of ours")
        case "die once":
            with pathlib.Path(request["mark"]).open("a+") as file:
                file.write("x")
                file.flush()
                if file.tell() == 1:
                    os._exit(1)
            return "alive"
        case "eat":
            return len(bytearray(8 << 30))
        case "modules":
            return sorted(sys.modules)
        case "pid":
            return os.getpid()
        case "child":
            import subprocess

            return subprocess.Popen(["sleep", "60"]).pid
