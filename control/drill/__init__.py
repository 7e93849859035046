"""`tandem drill`: an installation of its own, calls and payments, kills, and then the books.

Everything here stands outside of the switch: it sees packets and the API's answers, as customers,
vendors and auditors do.
"""
