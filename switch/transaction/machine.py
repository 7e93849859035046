"""The four state machines of RFC 3261 §17 as tables, with the Accepted states of RFC 6026.

A row reads: in this state, on this event, go to that state and do this. A pair that is not listed
changes nothing: peers repeat themselves. Each table can be held against its figure in the RFC.
"""

from __future__ import annotations

from typing import Final

# States. Small ints: they are compared on every message.
TRYING: Final = 0
CALLING: Final = 1
PROCEEDING: Final = 2
ACCEPTED: Final = 3
COMPLETED: Final = 4
CONFIRMED: Final = 5
TERMINATED: Final = 6

STATE_NAMES: Final = ("trying", "calling", "proceeding", "accepted", "completed", "confirmed", "terminated")

# Events.
REQUEST: Final = 0  # a copy of the request that opened a server transaction
ACK: Final = 1
SEND_1XX: Final = 2
SEND_2XX: Final = 3
SEND_FAILURE: Final = 4
RECEIVE_1XX: Final = 5
RECEIVE_2XX: Final = 6
RECEIVE_FAILURE: Final = 7
TIMER_RETRANSMIT: Final = 8  # A, E or G
TIMER_GIVE_UP: Final = 9  # B, F or H
TIMER_LINGER: Final = 10  # D, I, J, K, L or M: the time in which copies are absorbed
TRANSPORT_ERROR: Final = 11

# Actions.
NOTHING: Final = 0
SEND: Final = 1
SEND_AND_LINGER: Final = 2
SEND_AND_REPEAT: Final = 3
RESEND: Final = 4
RESEND_LATER_AGAIN: Final = 5
STOP_AND_LINGER: Final = 6
REPORT_TIMEOUT: Final = 7
REPORT_ERROR: Final = 8
PASS_UP: Final = 9
PASS_UP_AND_STOP: Final = 10
PASS_UP_AND_LINGER: Final = 11
ACK_PASS_UP_AND_LINGER: Final = 12
ACK_AGAIN: Final = 13
END: Final = 14

Table = dict[int, dict[int, tuple[int, int]]]

# Figure 7 of RFC 3261 with RFC 6026 §7.1. Timers: G, H, I and L.
INVITE_SERVER: Final[Table] = {
    PROCEEDING: {
        REQUEST: (PROCEEDING, RESEND),
        SEND_1XX: (PROCEEDING, SEND),
        SEND_2XX: (ACCEPTED, SEND_AND_LINGER),
        SEND_FAILURE: (COMPLETED, SEND_AND_REPEAT),
        TRANSPORT_ERROR: (TERMINATED, REPORT_ERROR),
    },
    # Copies of the INVITE are absorbed: the callee repeats its 2xx by itself, end to end.
    ACCEPTED: {
        SEND_2XX: (ACCEPTED, SEND),
        TIMER_LINGER: (TERMINATED, END),
    },
    COMPLETED: {
        REQUEST: (COMPLETED, RESEND),
        ACK: (CONFIRMED, STOP_AND_LINGER),
        TIMER_RETRANSMIT: (COMPLETED, RESEND_LATER_AGAIN),
        TIMER_GIVE_UP: (TERMINATED, REPORT_TIMEOUT),
        TRANSPORT_ERROR: (TERMINATED, REPORT_ERROR),
    },
    CONFIRMED: {TIMER_LINGER: (TERMINATED, END)},
    TERMINATED: {},
}

# Figure 8 of RFC 3261. Timer J.
NON_INVITE_SERVER: Final[Table] = {
    TRYING: {
        SEND_1XX: (PROCEEDING, SEND),
        SEND_2XX: (COMPLETED, SEND_AND_LINGER),
        SEND_FAILURE: (COMPLETED, SEND_AND_LINGER),
    },
    PROCEEDING: {
        REQUEST: (PROCEEDING, RESEND),
        SEND_1XX: (PROCEEDING, SEND),
        SEND_2XX: (COMPLETED, SEND_AND_LINGER),
        SEND_FAILURE: (COMPLETED, SEND_AND_LINGER),
        TRANSPORT_ERROR: (TERMINATED, REPORT_ERROR),
    },
    COMPLETED: {
        REQUEST: (COMPLETED, RESEND),
        TIMER_LINGER: (TERMINATED, END),
        TRANSPORT_ERROR: (TERMINATED, REPORT_ERROR),
    },
    TERMINATED: {},
}

# Figure 5 of RFC 3261 with RFC 6026 §7.2. Timers: A, B, D and M.
INVITE_CLIENT: Final[Table] = {
    CALLING: {
        TIMER_RETRANSMIT: (CALLING, RESEND_LATER_AGAIN),
        TIMER_GIVE_UP: (TERMINATED, REPORT_TIMEOUT),
        TRANSPORT_ERROR: (TERMINATED, REPORT_ERROR),
        RECEIVE_1XX: (PROCEEDING, PASS_UP_AND_STOP),
        RECEIVE_2XX: (ACCEPTED, PASS_UP_AND_LINGER),
        RECEIVE_FAILURE: (COMPLETED, ACK_PASS_UP_AND_LINGER),
    },
    PROCEEDING: {
        RECEIVE_1XX: (PROCEEDING, PASS_UP),
        RECEIVE_2XX: (ACCEPTED, PASS_UP_AND_LINGER),
        RECEIVE_FAILURE: (COMPLETED, ACK_PASS_UP_AND_LINGER),
    },
    ACCEPTED: {
        RECEIVE_2XX: (ACCEPTED, PASS_UP),
        TIMER_LINGER: (TERMINATED, END),
    },
    COMPLETED: {
        RECEIVE_FAILURE: (COMPLETED, ACK_AGAIN),
        TIMER_LINGER: (TERMINATED, END),
        TRANSPORT_ERROR: (TERMINATED, REPORT_ERROR),
    },
    TERMINATED: {},
}

# Figure 6 of RFC 3261. Timers: E, F and K.
NON_INVITE_CLIENT: Final[Table] = {
    TRYING: {
        TIMER_RETRANSMIT: (TRYING, RESEND_LATER_AGAIN),
        TIMER_GIVE_UP: (TERMINATED, REPORT_TIMEOUT),
        TRANSPORT_ERROR: (TERMINATED, REPORT_ERROR),
        RECEIVE_1XX: (PROCEEDING, PASS_UP),
        RECEIVE_2XX: (COMPLETED, PASS_UP_AND_LINGER),
        RECEIVE_FAILURE: (COMPLETED, PASS_UP_AND_LINGER),
    },
    PROCEEDING: {
        TIMER_RETRANSMIT: (PROCEEDING, RESEND_LATER_AGAIN),
        TIMER_GIVE_UP: (TERMINATED, REPORT_TIMEOUT),
        TRANSPORT_ERROR: (TERMINATED, REPORT_ERROR),
        RECEIVE_1XX: (PROCEEDING, PASS_UP),
        RECEIVE_2XX: (COMPLETED, PASS_UP_AND_LINGER),
        RECEIVE_FAILURE: (COMPLETED, PASS_UP_AND_LINGER),
    },
    COMPLETED: {TIMER_LINGER: (TERMINATED, END)},
    TERMINATED: {},
}
