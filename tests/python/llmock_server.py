"""llmock on a free port: prints its address, serves, and ends when its standard input does."""
import os, socket, sys, threading

import uvicorn
from llmock.cli import app  # noqa: F401  sets the defaults of its environment
from llmock.main import app as server

listener = socket.socket()
listener.bind(("127.0.0.1", 0))
print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)


def leash():
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=leash, daemon=True).start()
uvicorn.Server(uvicorn.Config(server, log_level="error")).run(sockets=[listener])
