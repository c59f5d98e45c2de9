"""Numbers that bound what plait does, each with its unit and reason."""

from __future__ import annotations

from typing import Final

#: Seconds between SIGTERM and SIGKILL, wherever a process is ended.
GRACE_S: Final = 2.0
#: Seconds that leaving after a Ctrl-C may take.
INTERRUPT_EXIT_S: Final = 5.0
#: Seconds that a shutdown may take.
SHUTDOWN_S: Final = 10.0
#: Seconds for which anything sleeps at once: the system refuses to wait for more than 24 days, or for what does not fit into its clock.
LONGEST_WAIT_S: Final = 86_400.0
#: Depth to which containers in arguments are searched for futures.
SCAN_DEPTH: Final = 8

#: Bytes above which a pickle or a buffer travels as an anonymous file instead of through the socket: about where two copies through a socket
#: cost more than making, filling and mapping a file.
BIG_BYTES: Final = 96 * 1024
#: Anonymous files that may wait in the driver for a worker; more tasks than these keep their bytes in memory (open files are limited per process).
MAX_WAITING_FILES: Final = 256
#: Results that may stay mapped in one process; later ones are copied (the system allows 65,530 mappings).
MAX_MAPPINGS: Final = 16_000

#: Bytes of a worker's shared page: what it runs, and outcomes not sent yet.
PAGE_BYTES: Final = 64 * 1024
#: Tasks in one message to a worker.
BATCH_TASKS: Final = 64
#: Tasks that one worker may hold.
MAX_CREDIT: Final = 256
#: Seconds of expected work that a worker may hold beyond the task that it runs.
CREDIT_S: Final = 0.008
#: Seconds for which a worker may gather outcomes before it sends them.
FLUSH_S: Final = 0.001
#: Seconds after which tasks that wait behind a running one are taken back for idle workers.
RETRACT_S: Final = 0.01
#: Seconds for which a manager with many busy workers may wait for what they say before it serves them.
GATHER_S: Final = 0.002
#: Worker starts that may fail in a row before the pool gives up.
MAX_FAILED_STARTS: Final = 3
#: Bytes by which a worker's memory may grow over what it had after its first task before it is replaced (as loky does).
MAX_LEAK_BYTES: Final = 300_000_000
#: Seconds between two looks at a worker's memory.
LEAK_CHECK_S: Final = 1.0

#: Seconds after which an event is on disk at the latest.
JOURNAL_FLUSH_S: Final = 0.1
#: Bytes of one journal file before the next is begun.
JOURNAL_FILE_BYTES: Final = 256 * 1024 * 1024

# pilot jobs: the link between interchange and managers
#: Bytes of one part of a message that the interchange takes, and a manager (functions travel in one piece).
ROUTER_FRAME_BYTES: Final = 16 * 1024 * 1024
DEALER_FRAME_BYTES: Final = 64 * 1024 * 1024
#: Messages in ZeroMQ's queue for one connection; more wait in ours, where what is urgent can overtake.
LINK_MESSAGES: Final = 256
DEALER_MESSAGES: Final = 128
#: Bytes that may wait for a manager that does not read before it is disconnected.
LINK_BACKLOG_BYTES: Final = 256 * 1024 * 1024
#: Bytes after which the interchange looks at other things before it takes more from managers.
RECEIVE_BYTES: Final = 16 * 1024 * 1024
#: Connections that may wait to be accepted: managers that come back all at once.
LISTEN_BACKLOG: Final = 2048
#: Seconds in which a new connection must have proved its key, and an address must have taken it.
HANDSHAKE_S: Final = 10.0
CONNECT_S: Final = 5.0
#: Seconds between two tries of a manager to connect again: the first, and the longest (half as long again, at random).
REDIAL_S: Final = (0.1, 5.0)
#: Seconds of silence after which a manager takes the connection for dead and makes a new one.
LINK_SILENCE_S: Final = 30.0
#: Seconds for which a closed link goes on sending what is left.
LINGER_S: Final = 0.5
#: Bad messages after which a connection is ended.
MAX_STRIKES: Final = 8
#: Open files that are kept free of connections.
SPARE_FILES: Final = 32
#: Seconds between two sentences of one kind in the log about what peers do wrong.
SAY_EVERY_S: Final = 10.0
#: Bytes of one chunk of a big value, and of those of one link that are on their way: a link of 10 Gbit/s and 3 ms is full with this window, and
#: what is urgent waits for 40 ms behind it where only 100 MB/s go through.
CHUNK_BYTES: Final = 1024 * 1024
WINDOW_BYTES: Final = 4 * 1024 * 1024
#: Seconds after which a transfer that does not move goes back to what was acknowledged.
RESEND_S: Final = 20.0
