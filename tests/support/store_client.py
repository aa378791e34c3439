"""A subscriber in a process of its own that keeps what it receives, and the token with it, in one line of a file.

`python -m tests.support.store_client ADDRESS FILE` goes on after the last whole line of the file. So it receives each
event exactly once, however often it is killed. It ends when the server ends the watch or is gone.
"""

import json
import sys
from pathlib import Path

import grpc

from faceanalytics.v1 import tracks_pb2, tracks_pb2_grpc
from tests.support.patience import FOREVER_S


def watch(address: str, file: Path) -> None:
    content = file.read_bytes() if file.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    lines = whole.splitlines()
    token = json.loads(lines[-1])["token"] if lines else ""
    with file.open("r+b" if content else "wb", buffering=0) as out, grpc.insecure_channel(address) as channel:
        out.truncate(len(whole))
        out.seek(len(whole))
        request = tracks_pb2.WatchTracksRequest(resume_token=token)
        stub = tracks_pb2_grpc.TrackServiceStub(channel)
        try:
            call = stub.WatchTracks(request, timeout=FOREVER_S)
            call.initial_metadata()
            print("watching", flush=True)
            for message in call:
                kind = tracks_pb2.EventType.Name(message.type).removeprefix("EVENT_TYPE_")
                line = {"kind": kind, "track": message.track.track_id, "sequence": message.log_sequence}
                line |= {"unstored": message.unstored, "token": message.resume_token}
                out.write(json.dumps(line).encode() + b"\n")
        except grpc.RpcError as error:
            print(f"{error.code().name}: {error.details()}", flush=True)
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise


if __name__ == "__main__":
    watch(sys.argv[1], Path(sys.argv[2]))
