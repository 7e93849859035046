"""Every case: data, in the order of a call's life. `run.py` plays and checks them."""

from __future__ import annotations

from sipp_scenarios import changes, checks
from sipp_scenarios.case import Caller, Case, Outcome, Try, Vendor

TALK = (1_150, 1_900)
"""Around the callers' pause of 1.2 s."""
ANSWERED = Outcome(talk_ms=TALK, tries=(Try(0, 200, "answered"),))
REFUSED = Caller(scenario="uac_refused", finals=(403,))
TRAP = Vendor()
SECOND = Vendor(scenario="uas_answers")


def refused(cause: str, status: int, **fields: object) -> Outcome:
    """Turned away before any vendor was asked."""
    return Outcome(cause=cause, status=status, release="switch", **fields)  # type: ignore[arg-type]


def failed_over(status: int, cause: str) -> tuple[Outcome, ...]:
    return (Outcome(talk_ms=TALK, tries=(Try(0, status, cause), Try(1, 200, "answered"))),)


PLAIN = (
    Case(name="call", what="A call is answered, priced, and ended by the caller.", outcomes=(ANSWERED,)),
    Case(
        name="call_hung_up_by_callee",
        what="The vendor's side hangs up first.",
        callers=(Caller(scenario="uac_call_hung_up_by_callee"),),
        vendors=(Vendor(scenario="uas_answers_and_hangs_up", pause_ms=1_200),),
        outcomes=(Outcome(talk_ms=TALK, release="callee", tries=(Try(0, 200, "answered"),)),),
    ),
    Case(
        name="call_answered_at_once",
        what="A 200 without any provisional before it.",
        vendors=(Vendor(scenario="uas_answers_at_once"),),
        outcomes=(ANSWERED,),
    ),
    Case(
        name="call_with_connect_fee_and_increments",
        what="30/6 with a connect fee: 1.2 s of talk are billed as 30.",
        callers=(Caller(dialled="12125550123"),),
        outcomes=(Outcome(talk_ms=TALK, number="12125550123", tries=(Try(0, 200, "answered"),)),),
    ),
    Case(
        name="number_with_plus",
        what="+44… is the same number, at the same price.",
        callers=(Caller(dialled="+442071000001"),),
        outcomes=(ANSWERED,),
    ),
    Case(
        name="number_with_00",
        what="0044… is the same number, at the same price.",
        callers=(Caller(dialled="00442071000001"),),
        outcomes=(ANSWERED,),
    ),
    Case(
        name="vendor_number_format",
        what="The vendor gets its tech prefix and a plus in front of the number.",
        records=changes.vendor_wants_plus,
        outcomes=(ANSWERED,),
        check=checks.vendor_was_sent("77+442071000001"),
    ),
    Case(
        name="maximum_duration",
        what="After the route's maximum the switch ends the call, both ways, and bills exactly that.",
        callers=(Caller(scenario="uac_call_hung_up_by_callee"),),
        records=changes.two_seconds_at_most,
        outcomes=(
            Outcome(cause="max_duration", release="switch", talk_ms=(1_950, 2_200), tries=(Try(0, 200, "answered"),)),
        ),
    ),
)

REFUSALS = (
    Case(
        name="busy",
        what="486 ends the hunt: the second vendor is not asked.",
        callers=(Caller(scenario="uac_refused", finals=(486,)),),
        vendors=(Vendor(scenario="uas_is_busy"), TRAP),
        outcomes=(Outcome(cause="busy", status=486, release="callee", tries=(Try(0, 486, "rejected"),)),),
    ),
    Case(
        name="unavailable",
        what="480 ends the hunt too.",
        callers=(Caller(scenario="uac_refused", finals=(480,)),),
        vendors=(Vendor(scenario="uas_is_unavailable"), TRAP),
        outcomes=(Outcome(cause="no_answer", status=480, release="callee", tries=(Try(0, 480, "rejected"),)),),
    ),
    Case(
        name="number_unknown",
        what="404 from a vendor is the called party's network speaking: no other is asked.",
        callers=(Caller(scenario="uac_refused", finals=(404,)),),
        vendors=(Vendor(scenario="uas_knows_no_such_number"), TRAP),
        outcomes=(Outcome(cause="rejected", status=404, release="callee", tries=(Try(0, 404, "rejected"),)),),
    ),
    Case(
        name="declined_everywhere",
        what="A 6xx stops all further attempts (RFC 3261 §16.7).",
        callers=(Caller(scenario="uac_refused", finals=(603,)),),
        vendors=(Vendor(scenario="uas_declines_everywhere"), TRAP),
        outcomes=(Outcome(cause="rejected", status=603, release="callee", tries=(Try(0, 603, "rejected"),)),),
    ),
    Case(
        name="redirected",
        what="A 302 is not followed, to nobody.",
        callers=(Caller(scenario="uac_refused", finals=(503,)),),
        vendors=(Vendor(scenario="uas_redirects"), TRAP),
        has_own_count=True,
        check=checks.redirect_was_not_followed,
    ),
    Case(
        name="no_rate",
        what="A number that the sell deck does not price is refused, not given away.",
        callers=(Caller(scenario="uac_refused", dialled="33142000001", finals=(404,)),),
        vendors=(TRAP,),
        outcomes=(refused("no_sell_rate", 404, number="33142000001"),),
    ),
    Case(
        name="number_invalid",
        what="What is no number is refused.",
        callers=(Caller(scenario="uac_refused", dialled="12345", finals=(484,)),),
        vendors=(TRAP,),
        outcomes=(refused("number_invalid", 484, number=""),),
    ),
    Case(
        name="no_margin",
        what="With every vendor dearer than the sell rate, the call is not sold below cost.",
        callers=(Caller(scenario="uac_refused", dialled="12125550123", finals=(503,)),),
        vendors=(TRAP,),
        records=changes.bought_too_dear,
        outcomes=(refused("no_margin", 503, number="12125550123"),),
    ),
    Case(
        name="customer_inactive",
        what="An inactive customer makes no calls.",
        callers=(REFUSED,),
        vendors=(TRAP,),
        records=changes.inactive_customer,
        outcomes=(refused("customer_inactive", 403, number=""),),
    ),
    Case(
        name="client_suspended",
        what="A suspended client makes no calls, whatever its customer account says.",
        callers=(REFUSED,),
        vendors=(TRAP,),
        records=changes.suspended_client,
        outcomes=(refused("client_suspended", 403, number=""),),
    ),
)

HUNTING = (
    Case(
        name="failover_on_503",
        what="503 from the first vendor: the second answers.",
        vendors=(Vendor(scenario="uas_is_out_of_service"), SECOND),
        outcomes=failed_over(503, "rejected"),
    ),
    Case(
        name="failover_on_500",
        what="500 from the first vendor: the second answers.",
        vendors=(Vendor(scenario="uas_fails"), SECOND),
        outcomes=failed_over(500, "rejected"),
    ),
    Case(
        name="failover_on_408",
        what="408 from the first vendor: the second answers.",
        vendors=(Vendor(scenario="uas_times_out"), SECOND),
        outcomes=failed_over(408, "rejected"),
    ),
    Case(
        name="failover_on_silence",
        what="The first vendor never says a word: after first_reply_ms (5 s by default) the second is asked.",
        vendors=(Vendor(is_deaf=True), SECOND),
        outcomes=failed_over(0, "first_reply_timeout"),
        needs_default_timers=True,
    ),
    Case(
        name="failover_on_no_progress",
        what="The first vendor says 100 and no more: after pdd_ms it is cancelled and the second asked.",
        vendors=(Vendor(scenario="uas_says_trying"), SECOND),
        records=changes.first_vendor_may_take_800_ms,
        outcomes=failed_over(487, "pdd_timeout"),
    ),
    Case(
        name="failover_on_no_answer",
        what="The first vendor rings on: after ring_ms it is cancelled and the second asked.",
        vendors=(Vendor(scenario="uas_rings"), SECOND),
        records=changes.first_vendor_may_take_800_ms,
        outcomes=failed_over(487, "ring_timeout"),
    ),
    Case(
        name="no_answer",
        what="The only vendor rings on: it is cancelled, and the caller told so.",
        callers=(Caller(scenario="uac_refused", finals=(480,)),),
        vendors=(Vendor(scenario="uas_rings"),),
        records=changes.first_vendor_may_take_800_ms,
        outcomes=(Outcome(cause="no_answer", status=480, release="switch", tries=(Try(0, 0, "ring_timeout"),)),),
    ),
    Case(
        name="all_vendors_fail",
        what="Every vendor fails: the caller hears 503, and of no vendor.",
        callers=(Caller(scenario="uac_refused", finals=(503,)),),
        vendors=(Vendor(scenario="uas_fails"), Vendor(scenario="uas_is_out_of_service")),
        outcomes=(
            Outcome(
                cause="vendors_exhausted",
                status=503,
                release="switch",
                tries=(Try(0, 500, "rejected"), Try(1, 503, "rejected")),
            ),
        ),
    ),
    Case(
        name="retry_after_rests_one_gateway",
        what="503 with Retry-After: the next call does not try that gateway again.",
        callers=(Caller(), Caller()),
        in_turn=True,
        vendors=(Vendor(scenario="uas_refuses_for_a_while"), Vendor(scenario="uas_answers", calls=2)),
        outcomes=(
            Outcome(talk_ms=TALK, tries=(Try(0, 503, "rejected"), Try(1, 200, "answered"))),
            Outcome(talk_ms=TALK, tries=(Try(1, 200, "answered"),)),
        ),
    ),
)

CANCELS = (
    Case(
        name="cancel_before_ringing",
        what="CANCEL while the vendor has only said 100.",
        callers=(Caller(scenario="uac_cancels_before_ringing", finals=(487,)),),
        vendors=(Vendor(scenario="uas_says_trying"),),
        outcomes=(Outcome(cause="cancelled", status=487, tries=(Try(0, 0, "cancelled"),)),),
    ),
    Case(
        name="cancel_while_ringing",
        what="CANCEL after the 180.",
        callers=(Caller(scenario="uac_cancels_while_ringing", finals=(487,)),),
        vendors=(Vendor(scenario="uas_rings"),),
        outcomes=(Outcome(cause="cancelled", status=487, tries=(Try(0, 0, "cancelled"),)),),
    ),
    Case(
        name="cancel_races_the_200",
        what="CANCEL and 200 in one moment, 20 times: each call is cancelled and free, or answered and charged.",
        callers=(Caller(scenario="uac_cancels_at_answer", calls=20, finals=(200, 487), is_patient=True),),
        vendors=(Vendor(scenario="uas_answers_as_cancel_comes", calls=20, is_patient=True),),
        has_own_count=True,
        check=checks.races_ended_as_the_caller_saw,
    ),
)

REPEATS = (
    Case(
        name="invite_seven_times",
        what="Seven copies of an INVITE are one call: one INVITE at the vendor, one CDR.",
        callers=(Caller(scenario="uac_repeats_invite", is_patient=True),),
        outcomes=(ANSWERED,),
    ),
    Case(
        name="answer_seven_times",
        what="Seven copies of the 200 are one answer.",
        vendors=(Vendor(scenario="uas_repeats_200", is_patient=True),),
        callers=(Caller(is_patient=True),),
        outcomes=(ANSWERED,),
    ),
    Case(
        name="bye_seven_times",
        what="Seven copies of a BYE are one end.",
        callers=(Caller(scenario="uac_repeats_bye", is_patient=True),),
        outcomes=(ANSWERED,),
    ),
    Case(
        name="cancel_seven_times",
        what="Seven copies of a CANCEL are one.",
        callers=(Caller(scenario="uac_repeats_cancel", finals=(487,), is_patient=True),),
        vendors=(Vendor(scenario="uas_rings", is_patient=True),),
        outcomes=(Outcome(cause="cancelled", status=487, tries=(Try(0, 0, "cancelled"),)),),
    ),
    Case(
        name="answer_never_acked",
        what="The caller never ACKs: after 64*T1 (32 s) the switch ends the call towards both.",
        callers=(Caller(scenario="uac_never_acks", is_patient=True),),
        vendors=(Vendor(scenario="uas_is_never_acked"),),
        has_own_count=True,
        check=checks.ended_for_want_of_ack(31_500, 34_000),
        needs_default_timers=True,
        timeout_s=50,
    ),
)

INSIDE = (
    Case(
        name="reinvite_by_caller",
        what="The caller holds the call by re-INVITE.",
        callers=(Caller(scenario="uac_reinvites", pause_ms=1_000),),
        vendors=(Vendor(scenario="uas_takes_requests"),),
        outcomes=(ANSWERED,),
    ),
    Case(
        name="update_by_caller",
        what="The caller sends UPDATE.",
        callers=(Caller(scenario="uac_updates", pause_ms=1_000),),
        vendors=(Vendor(scenario="uas_takes_requests"),),
        outcomes=(ANSWERED,),
    ),
    Case(
        name="info_by_caller",
        what="The caller sends INFO.",
        callers=(Caller(scenario="uac_sends_info", pause_ms=1_000),),
        vendors=(Vendor(scenario="uas_takes_requests"),),
        outcomes=(ANSWERED,),
    ),
    Case(
        name="reinvite_by_callee",
        what="The vendor's side re-INVITEs and then hangs up.",
        callers=(Caller(scenario="uac_takes_requests"),),
        vendors=(Vendor(scenario="uas_reinvites", pause_ms=1_000),),
        outcomes=(Outcome(talk_ms=TALK, release="callee", tries=(Try(0, 200, "answered"),)),),
    ),
    Case(
        name="update_by_callee",
        what="The vendor's side sends UPDATE and then hangs up.",
        callers=(Caller(scenario="uac_takes_requests"),),
        vendors=(Vendor(scenario="uas_updates", pause_ms=1_000),),
        outcomes=(Outcome(talk_ms=TALK, release="callee", tries=(Try(0, 200, "answered"),)),),
    ),
    Case(
        name="info_by_callee",
        what="The vendor's side sends INFO and then hangs up.",
        callers=(Caller(scenario="uac_takes_requests"),),
        vendors=(Vendor(scenario="uas_sends_info", pause_ms=1_000),),
        outcomes=(Outcome(talk_ms=TALK, release="callee", tries=(Try(0, 200, "answered"),)),),
    ),
    Case(
        name="prack",
        what="Reliable provisionals pass through: 183 with RSeq one way, PRACK the other (RFC 3262).",
        callers=(Caller(scenario="uac_prack"),),
        vendors=(Vendor(scenario="uas_prack"),),
        outcomes=(ANSWERED,),
    ),
)

IDENTITY = (
    Case(
        name="digest_call",
        what="From an unknown address with a right password: challenged once, then a call like any other.",
        callers=(
            Caller(scenario="uac_digest_call", from_stranger=True, finals=(200, 407), options=("-ap", "correct horse")),
        ),
        records=changes.with_sip_user,
        outcomes=(ANSWERED,),
    ),
    Case(
        name="digest_wrong_password",
        what="A wrong password is challenged again and gets nothing.",
        callers=(Caller(scenario="uac_digest_refused", from_stranger=True, finals=(407,), options=("-ap", "wrong")),),
        vendors=(TRAP,),
        records=changes.with_sip_user,
    ),
    Case(
        name="unknown_source",
        what="An INVITE from nobody's address is refused, sent nowhere, and leaves no CDR.",
        callers=(Caller(scenario="uac_refused", from_stranger=True, finals=(407,)),),
        vendors=(TRAP,),
    ),
    Case(
        name="tech_prefix",
        what="The tech prefix names the endpoint and is taken off before anything else.",
        callers=(Caller(dialled="1234442071000001"),),
        records=changes.tech_prefix_1234,
        outcomes=(ANSWERED,),
    ),
    Case(
        name="tech_prefix_missing",
        what="Without its tech prefix the address is nobody's.",
        callers=(Caller(scenario="uac_refused", finals=(407,)),),
        vendors=(TRAP,),
        records=changes.tech_prefix_1234,
    ),
    Case(
        name="two_customers_on_one_address",
        what="Two customers behind one address are told apart by tech prefix, and each is charged its own calls.",
        callers=(Caller(dialled="1234442071000001"), Caller(dialled="5678491512345678")),
        vendors=(Vendor(scenario="uas_answers", calls=2),),
        records=changes.second_customer_on_5678,
        outcomes=(
            ANSWERED,
            Outcome(talk_ms=TALK, number="491512345678", customer=1, tries=(Try(0, 200, "answered"),)),
        ),
    ),
    Case(
        name="foreign_route",
        what="A preloaded Route of a stranger is not followed (open relay).",
        callers=(Caller(scenario="uac_foreign_route", from_stranger=True, finals=(407,)),),
        vendors=(TRAP,),
    ),
    Case(
        name="foreign_route_of_a_customer",
        what="Nor is that of a known customer.",
        callers=(Caller(scenario="uac_foreign_route", finals=(404,)),),
        vendors=(TRAP,),
        outcomes=(refused("no_ingress_route", 404),),
    ),
    Case(
        name="number_rewritten",
        what="The vendor gets the number that a rule makes, in From and as tel: identity, and one codec.",
        callers=(Caller(scenario="uac_call_with_identity", options=("-key", "privacy", "none")),),
        records=changes.numbers_rewritten,
        outcomes=(ANSWERED,),
        check=checks.vendor_was_told("44201230000", ["<tel:+44201230000>"]),
    ),
    Case(
        name="caller_withheld",
        what="A caller who asks for privacy is nobody to the vendor, and is priced as ever.",
        callers=(Caller(scenario="uac_call_with_identity", options=("-key", "privacy", "user;id")),),
        records=changes.numbers_rewritten,
        outcomes=(ANSWERED,),
        check=checks.vendor_was_told("anonymous", []),
    ),
    Case(
        name="number_refused",
        what="A calling number that no rule takes is refused.",
        callers=(REFUSED,),
        vendors=(TRAP,),
        records=changes.british_numbers_only,
        outcomes=(refused("cli_refused", 403),),
    ),
    Case(
        name="description_beside_isup",
        what="Of a body of several parts the session description loses its codecs; the others arrive as they were.",
        callers=(Caller(scenario="uac_call_with_isup"),),
        records=changes.pcma_only,
        outcomes=(ANSWERED,),
        check=checks.other_parts_stay,
    ),
    Case(
        name="no_codec_left_beside_isup",
        what="With no codec left in the description, 488, whatever other parts there are.",
        callers=(Caller(scenario="uac_call_with_isup", finals=(488,)),),
        vendors=(TRAP,),
        records=changes.gsm_only,
        outcomes=(refused("codecs_refused", 488),),
    ),
    Case(
        name="no_codec_left",
        what="An offer of nothing that the endpoint may use is refused with 488.",
        callers=(Caller(scenario="uac_refused", finals=(488,)),),
        vendors=(TRAP,),
        records=changes.gsm_only,
        outcomes=(refused("codecs_refused", 488),),
    ),
    Case(
        name="foreign_uri",
        what="A Request-URI with another host never chooses the next hop.",
        callers=(Caller(scenario="uac_foreign_uri", from_stranger=True, finals=(407,)),),
        vendors=(TRAP,),
    ),
    Case(
        name="foreign_uri_of_a_customer",
        what="Nor does it for a known customer.",
        callers=(Caller(scenario="uac_foreign_uri", finals=(404,)),),
        vendors=(TRAP,),
        outcomes=(refused("no_ingress_route", 404),),
    ),
    Case(
        name="bye_outside_a_dialog",
        what="A BYE for no call is refused and sent nowhere.",
        callers=(Caller(scenario="uac_bye_outside", finals=()),),
        vendors=(TRAP,),
    ),
    Case(
        name="bye_of_a_stranger",
        what="The same from an address that nobody has.",
        callers=(Caller(scenario="uac_bye_outside", from_stranger=True, finals=()),),
        vendors=(TRAP,),
    ),
    Case(
        name="options",
        what="OPTIONS to the switch is answered by the switch.",
        callers=(Caller(scenario="uac_options", from_stranger=True, finals=()),),
        vendors=(TRAP,),
    ),
)

LIMITS = (
    Case(
        name="channels_cap",
        what="Three channels, five calls at once: exactly three stand, two get 503.",
        callers=(Caller(scenario="uac_call_or_refused", calls=5, calls_per_s=500, finals=(200, 503)),),
        vendors=(Vendor(scenario="uas_answers", calls=3),),
        records=changes.three_channels,
        outcomes=(
            Outcome(talk_ms=TALK, tries=(Try(0, 200, "answered"),), times=3),
            refused("channels_exceeded", 503, times=2),
        ),
    ),
    Case(
        name="bandwidth_cap",
        what="Room for three calls of G.711, five at once: exactly three stand, two get 503.",
        callers=(Caller(scenario="uac_call_or_refused", calls=5, calls_per_s=500, finals=(200, 503)),),
        vendors=(Vendor(scenario="uas_answers", calls=3),),
        records=changes.room_for_three_calls,
        outcomes=(
            Outcome(talk_ms=TALK, tries=(Try(0, 200, "answered"),), times=3),
            refused("bandwidth_exceeded", 503, times=2),
        ),
    ),
    Case(
        name="cps_cap",
        what="Four calls a second, ten in one go: exactly four pass, six get 503 with Retry-After.",
        callers=(Caller(scenario="uac_call_or_refused", calls=10, calls_per_s=1_000, finals=(200, 503)),),
        vendors=(Vendor(scenario="uas_answers", calls=4),),
        records=changes.four_calls_a_second,
        outcomes=(
            Outcome(talk_ms=TALK, tries=(Try(0, 200, "answered"),), times=4),
            refused("cps_exceeded", 503, times=6),
        ),
        check=checks.refusals_say_retry_after,
    ),
)

TRANSPORTS = (
    Case(
        name="tcp_call",
        what="TCP on both sides.",
        callers=(Caller(transport="tcp"),),
        vendors=(Vendor(scenario="uas_answers", transport="tcp"),),
        outcomes=(ANSWERED,),
    ),
    Case(
        name="tcp_caller_udp_vendor",
        what="TCP from the caller, UDP to the vendor.",
        callers=(Caller(transport="tcp"),),
        outcomes=(ANSWERED,),
    ),
    Case(
        name="udp_caller_tcp_vendor",
        what="UDP from the caller, TCP to the vendor.",
        vendors=(Vendor(scenario="uas_answers", transport="tcp"),),
        outcomes=(ANSWERED,),
    ),
    Case(
        name="tls_call",
        what="TLS on both sides, the vendor's certificate verified.",
        callers=(Caller(scenario="uac_call_tls", transport="tls"),),
        vendors=(Vendor(scenario="uas_answers_tls", transport="tls"),),
        outcomes=(ANSWERED,),
    ),
    Case(
        name="long_invite_goes_by_tcp",
        what="Over 1,300 bytes for a UDP vendor that takes TCP too: it goes by TCP (RFC 3261 §18.1.1).",
        callers=(Caller(scenario="uac_call_with_long_invite"),),
        vendors=(Vendor(scenario="uas_answers", transport="tcp"),),
        records=changes.vendor_also_takes_tcp,
        outcomes=(ANSWERED,),
    ),
    Case(
        name="failover_on_wrong_certificate",
        what="The first vendor's certificate names somebody else: nothing is said to it, the second answers.",
        vendors=(Vendor(transport="tls", has_wrong_certificate=True), SECOND),
        outcomes=failed_over(0, "unreachable"),
    ),
    Case(
        name="failover_on_refused_connection",
        what="Nobody listens at the first vendor's TCP port: the second answers, without waiting for a timer.",
        vendors=(Vendor(transport="tcp", is_absent=True), SECOND),
        outcomes=failed_over(0, "unreachable"),
    ),
    Case(
        name="ipv6_call",
        what="IPv6 on both sides.",
        outcomes=(ANSWERED,),
        is_ipv6=True,
    ),
)

CASES: tuple[Case, ...] = (*PLAIN, *REFUSALS, *HUNTING, *CANCELS, *REPEATS, *INSIDE, *IDENTITY, *LIMITS, *TRANSPORTS)
