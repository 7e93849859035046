"""The customers' portal: logging in, and what a contact sees and does of its own customer.

Everything but logging in and setting a password by a link needs a contact's session, which opens
nothing else; and no key opens the portal.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from control.api.client_portal_routes import CLIENT_PORTAL_ROUTES
from control.api.downloads import streamed
from control.api.portal_bill_routes import PORTAL_BILL_ROUTES
from control.api.portal_number_routes import PORTAL_NUMBER_ROUTES
from control.api.routing import Call, Route, address_of, bearer_of
from control.api.stats_routes import PORTAL_STATS_ROUTES
from control.services import contact_accounts as accounts
from control.services import portal_calls as calls
from control.services import portal_views as views
from control.services import sessions
from control.services.cdr_parquet import MEDIA_TYPE as PARQUET
from control.services.cdr_zones import zone_of
from control.services.latest_calls import CustomerLatestQuery
from control.services.pages import Page


async def log_in(call: Call) -> Any:
    return await sessions.log_in(call.ctx, call.body, address_of(call.request), _user_agent(call))


async def log_out(call: Call) -> None:
    await sessions.log_out(call.ctx, bearer_of(call.request))


async def want_link(call: Call) -> None:
    await accounts.want_link(call.ctx, call.body, address_of(call.request))


async def reset_password(call: Call) -> None:
    await accounts.reset_password(call.ctx, call.body)


async def read_profile(call: Call) -> Any:
    return await accounts.profile(call.ctx)


async def change_profile(call: Call) -> Any:
    return await accounts.change_profile(call.ctx, call.body, call.version)


async def change_password(call: Call) -> Any:
    return await accounts.change_password(call.ctx, call.body, address_of(call.request), _user_agent(call))


async def begin_second_factor(call: Call) -> Any:
    return await accounts.begin_second_factor(call.ctx)


async def confirm_second_factor(call: Call) -> None:
    await accounts.confirm_second_factor(call.ctx, call.body)


async def remove_own_second_factor(call: Call) -> None:
    await accounts.remove_own_second_factor(call.ctx, call.body)


async def read_balance(call: Call) -> Any:
    return await views.balance(call.ctx)


async def list_cdrs(call: Call) -> Any:
    return await calls.page_cdrs(call.ctx, call.query)


async def read_cdr(call: Call) -> Any:
    return await calls.get_cdr(call.ctx, call.path["cdr_id"])


async def export_csv(call: Call) -> Any:
    calls.check(call.ctx, call.query)
    await zone_of(call.ctx, call.query.time_zone, views.own_customer_id(call.ctx))
    return streamed(calls.csv_cdrs(call.ctx, call.query), "cdrs.csv")


async def export_parquet(call: Call) -> Any:
    calls.check(call.ctx, call.query)
    await zone_of(call.ctx, call.query.time_zone, views.own_customer_id(call.ctx))
    return streamed(calls.parquet_cdrs(call.ctx, call.query), "cdrs.parquet", PARQUET)


async def export_json_lines(call: Call) -> Any:
    calls.check(call.ctx, call.query)
    await zone_of(call.ctx, call.query.time_zone, views.own_customer_id(call.ctx))
    return streamed(calls.json_cdrs(call.ctx, call.query), "cdrs.jsonl", "application/jsonl")


async def list_calls(call: Call) -> Any:
    return await calls.page_calls(call.ctx, call.query)


async def list_latest(call: Call) -> Any:
    return await calls.page_latest(call.ctx, call.query)


async def list_payments(call: Call) -> Any:
    return await views.page_payments(call.ctx, call.query)


async def list_endpoints(call: Call) -> Any:
    return await views.page_endpoints(call.ctx, call.query)


async def list_sip_users(call: Call) -> Any:
    return await views.page_sip_users(call.ctx, call.query)


async def mail_link(call: Call) -> None:
    await accounts.mail_link(call.ctx, call.path["row_id"])


async def end_sessions(call: Call) -> None:
    await sessions.end_all(call.ctx, call.path["row_id"])


async def remove_second_factor(call: Call) -> None:
    await accounts.remove_second_factor(call.ctx, call.path["row_id"])


def _user_agent(call: Call) -> str:
    return call.request.headers.get("user-agent", "")


def _route(
    method: Literal["GET", "POST", "PATCH"],
    path: str,
    handler: Any,
    summary: str,
    *,
    is_open: bool = False,
    **more: Any,
) -> Route:
    return Route(
        method=method,
        path=f"/portal{path}",
        handler=handler,
        summary=summary,
        role=None if is_open else "customer",
        status=more.pop("status", 204 if "reply" not in more else 200),
        **more,
    )


PORTAL_ROUTES: Final = (
    *PORTAL_STATS_ROUTES,
    _route(
        "POST",
        "/login",
        log_in,
        "Log a contact in by e-mail, password and, where one is set up, a code. 401 whatever is wrong; 429 after "
        "too many wrong tries.",
        is_open=True,
        body=sessions.LoginNew,
        reply=sessions.Login,
    ),
    _route("POST", "/logout", log_out, "End this session."),
    _route(
        "POST",
        "/password/link",
        want_link,
        "Have a link mailed that sets a password once. Answered the same whether or not there is such a contact.",
        is_open=True,
        body=accounts.LinkWanted,
    ),
    _route(
        "POST",
        "/password/reset",
        reset_password,
        "Set a password by a mailed link; all sessions end.",
        is_open=True,
        body=accounts.PasswordReset,
    ),
    _route("GET", "/me", read_profile, "Who is logged in, for which customer, with its notes.", reply=accounts.Profile),
    _route(
        "PATCH",
        "/me",
        change_profile,
        "Change one's own name or phone number.",
        patches=accounts.ProfilePatch,
        reply=accounts.Profile,
    ),
    _route(
        "POST",
        "/me/password",
        change_password,
        "Change one's own password; all sessions end, and the answer is a new one.",
        body=accounts.PasswordChange,
        reply=sessions.Login,
    ),
    _route(
        "POST",
        "/me/second-factor",
        begin_second_factor,
        "Make the secret of a second factor (RFC 6238), shown this once.",
        reply=accounts.SecondFactor,
    ),
    _route(
        "POST",
        "/me/second-factor/confirm",
        confirm_second_factor,
        "Set the second factor up by one of its codes; logins ask for one from now on.",
        body=accounts.CodeSent,
    ),
    _route(
        "POST",
        "/me/second-factor/remove",
        remove_own_second_factor,
        "Remove one's own second factor.",
        body=accounts.PasswordSent,
    ),
    _route("GET", "/balance", read_balance, "The customer's money as of now.", reply=views.Balance),
    _route(
        "GET",
        "/cdrs",
        list_cdrs,
        "List the customer's calls, the newest first.",
        query=calls.OwnCdrQuery,
        reply=Page[calls.OwnCdr],
    ),
    _route("GET", "/cdrs/{cdr_id:str}", read_cdr, "Read one of the customer's calls.", reply=calls.OwnCdrDetail),
    _route(
        "GET", "/cdrs.csv", export_csv, "Download the customer's calls.", query=calls.OwnExportQuery, reply="text/csv"
    ),
    _route(
        "GET",
        "/cdrs.jsonl",
        export_json_lines,
        "The same, one JSON object a line.",
        query=calls.OwnExportQuery,
        reply="application/jsonl",
    ),
    _route(
        "GET",
        "/cdrs.parquet",
        export_parquet,
        "The same as a Parquet file.",
        query=calls.OwnExportQuery,
        reply=PARQUET,
    ),
    _route(
        "GET",
        "/calls",
        list_calls,
        "List the customer's live calls, the youngest first.",
        query=calls.OwnCallQuery,
        reply=Page[calls.OwnCall],
    ),
    _route(
        "GET",
        "/latest-calls",
        list_latest,
        "List the customer's calls from their INVITE on, live and ended ones, the latest first.",
        query=CustomerLatestQuery,
        reply=calls.OwnLatest,
    ),
    _route(
        "GET",
        "/payments",
        list_payments,
        "List the customer's payments, the youngest first.",
        query=views.OwnQuery,
        reply=Page[views.OwnPayment],
    ),
    _route(
        "GET",
        "/endpoints",
        list_endpoints,
        "List the customer's endpoints.",
        query=views.OwnQuery,
        reply=Page[views.OwnEndpoint],
    ),
    _route(
        "GET",
        "/sip-users",
        list_sip_users,
        "List the customer's SIP users.",
        query=views.OwnQuery,
        reply=Page[views.OwnSipUser],
    ),
    *PORTAL_NUMBER_ROUTES,
    *CLIENT_PORTAL_ROUTES,
    *PORTAL_BILL_ROUTES,
)

_CONTACT: Final = "/contacts/{row_id:int}"

CONTACT_ROUTES: Final = (
    Route(
        method="POST",
        path=_CONTACT + "/password-link",
        handler=mail_link,
        summary="Mail a contact a link that sets a password once.",
        role="operator",
        status=204,
    ),
    Route(
        method="POST",
        path=_CONTACT + "/end-sessions",
        handler=end_sessions,
        summary="End all sessions of a contact, and its links.",
        role="operator",
        status=204,
    ),
    Route(
        method="POST",
        path=_CONTACT + "/remove-second-factor",
        handler=remove_second_factor,
        summary="Remove a contact's second factor: its phone is lost.",
        role="operator",
        status=204,
    ),
)
