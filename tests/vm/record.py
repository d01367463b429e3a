"""Passes NVMe/TCP connections on to a target and writes down every PDU of both sides.

record.py PORT TARGET-PORT FOLDER NAME: listens on 127.0.0.1:PORT; the connections that follow each other in time become
FOLDER/NAME-1.pdus, FOLDER/NAME-2.pdus, ... in the format of src/pdu/golden/README.md. Ends with SIGTERM.
"""

import re
import socket
import sys
import threading

TYPES = {0: "ICReq", 1: "ICResp", 2: "H2CTermReq", 3: "C2HTermReq", 4: "CapsuleCmd", 5: "CapsuleResp",
         6: "H2CData", 7: "C2HData", 9: "R2T"}
RUN = re.compile(rb"(.)\1{15,}", re.DOTALL)


def tokens(pdu):
    """The bytes in hex; sixteen and more equal ones are written once, with a count."""
    words, at = [], 0
    for run in RUN.finditer(pdu):
        words += [pdu[at:run.start()].hex()] if run.start() > at else []
        words.append(f"{run[1].hex()}*{run.end() - run.start()}")
        at = run.end()
    return " ".join(words + [pdu[at:].hex()] if at < len(pdu) else words)


class Recording:
    """One connection: both directions in the order in which their PDUs were whole."""

    def __init__(self, path):
        self.file = open(path, "w", encoding="ascii")
        self.lock = threading.Lock()

    def write(self, direction, pdu):
        with self.lock:
            name = TYPES.get(pdu[0], "?")
            self.file.write(f"# {name}, flags {pdu[1]:#x}, {len(pdu)} bytes\n{direction} {tokens(pdu)}\n")
            self.file.flush()


def carry(source, sink, direction, recording):
    """Writes PDUs down before they are passed on, so that a question always stands before its answer."""
    unread = b""
    try:
        while received := source.recv(1 << 20):
            unread += received
            while len(unread) >= 8 and len(unread) >= (length := int.from_bytes(unread[4:8], "little")) >= 8:
                recording.write(direction, unread[:length])
                sink.sendall(unread[:length])
                unread = unread[length:]
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def main():
    port, target, folder, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    listener = socket.create_server(("127.0.0.1", port))
    print("recording", flush=True)
    ordinal = 0
    while True:
        host, _ = listener.accept()
        ordinal += 1
        peer = socket.create_connection(("127.0.0.1", target))
        for end in (host, peer):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        recording = Recording(f"{folder}/{name}-{ordinal}.pdus")
        for ends in ((host, peer, ">"), (peer, host, "<")):
            threading.Thread(target=carry, args=(*ends, recording), daemon=True).start()


main()
