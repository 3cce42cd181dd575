"""Runs a program at a terminal of its own.

Usage: terminal.py job|leader[:COLUMNS] PROGRAM [ARGUMENT ...]

With `job` a shell with job control has started it there in the foreground, with `leader` the terminal was
made for it alone. What comes out of the terminal is printed, what comes on standard input is typed there
once the program hides it, SIGTERM becomes a Ctrl-C, SIGHUP closes the terminal, and the exit code is that of the
program.
"""
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios

(KIND, _, COLUMNS), PROGRAM = sys.argv[1].partition(':'), sys.argv[2:]


def code(status):
    return os.waitstatus_to_exitcode(status) & 255


def shell():
    """Starts the program as a job and waits for it; the terminal is its input and output."""
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpgrp())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execvp(PROGRAM[0], PROGRAM)
    os._exit(code(os.waitpid(job, 0)[1]))


def is_shown():
    """Whether the terminal shows what is typed there."""
    return termios.tcgetattr(terminal)[3] & termios.ECHO


def has_ended():
    """Whether the program has."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)


child, terminal = pty.fork()
if child == 0:
    if COLUMNS:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 24, int(COLUMNS), 0, 0))
    if KIND == 'job':
        shell()
    os.execvp(PROGRAM[0], PROGRAM)
signal.signal(signal.SIGTERM, lambda *_: os.write(terminal, b'\x03'))
signal.signal(signal.SIGHUP, lambda *_: os.close(terminal))
typed = [0]
while True:
    try:
        ready = select.select([terminal] + typed, [], [])[0]
        if 0 in ready:
            text = os.read(0, 4096)
            if text:
                # What is typed before the program listens is thrown away.
                while is_shown() and not has_ended():
                    select.select([], [], [], 0.01)
                os.write(terminal, text)
            else:
                typed = []
        if terminal not in ready:
            continue
        text = os.read(terminal, 4096)
    except OSError:
        # Nobody has the terminal open any more.
        break
    if not text:
        break
    os.write(1, text)
sys.exit(code(os.waitpid(child, 0)[1]))
