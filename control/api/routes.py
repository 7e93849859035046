"""Every route of the API, read from top to bottom."""

from __future__ import annotations

from typing import Final

from control.api import handlers
from control.api.alert_routes import ALERT_ROUTES
from control.api.analysis import ANALYSIS
from control.api.billing_routes import BILLING_ROUTES
from control.api.cli_rule_routes import CLI_RULE_ROUTES
from control.api.client_billing_routes import CLIENT_BILLING_ROUTES
from control.api.client_routes import CLIENT_ROUTES
from control.api.client_service_routes import CLIENT_SERVICE_ROUTES
from control.api.client_wizard_routes import CLIENT_WIZARD_ROUTES
from control.api.contract_routes import CONTRACT_ROUTES
from control.api.credit_routes import CREDIT_ROUTES
from control.api.crud import Owner, noun_routes
from control.api.customer_routes import CUSTOMER_ROUTES
from control.api.did_routes import DID_ROUTES
from control.api.invoice_routes import INVOICE_ROUTES
from control.api.metrics import CONTENT_TYPE
from control.api.money_routes import MONEY_ROUTES
from control.api.portal_routes import CONTACT_ROUTES, PORTAL_ROUTES
from control.api.recalculation_routes import RECALCULATION_ROUTES
from control.api.registration_routes import REGISTRATION_ROUTES
from control.api.routing import Route
from control.api.scheduled_change_routes import SCHEDULED_CHANGE_ROUTES
from control.api.stats_routes import STATS_ROUTES
from control.api.trace_routes import TRACE_ROUTES
from control.api.uploads import UPLOAD_BYTES_MAX
from control.api.webhook_routes import WEBHOOK_ROUTES
from control.services.admin_keys import ADMIN_KEYS, AdminKeyCreated, AdminKeyNew, AdminKeyQuery
from control.services.audit import AuditQuery, AuditRow
from control.services.cdr_detail import CdrDetail
from control.services.cdr_parquet import MEDIA_TYPE as PARQUET
from control.services.cdrs import CdrExportQuery, CdrQuery, CdrShown, CustomerCdrQuery
from control.services.clients import CLIENTS, ClientQuery
from control.services.contacts import CONTACTS, ContactQuery
from control.services.currencies import CurrencyShown
from control.services.customers import CUSTOMERS, CustomerQuery
from control.services.deck_import import DeckDiff
from control.services.did_fields import DidQuery
from control.services.dids import DIDS
from control.services.endpoints import ENDPOINTS, EndpointQuery
from control.services.gateways import GATEWAYS, GatewayQuery, GatewayStats
from control.services.ingress_routes import INGRESS_ROUTES, IngressRouteQuery
from control.services.live_calls import CallQuery, CallShown, Simulation, SimulationNew
from control.services.number_blocks import NUMBER_BLOCKS, NumberBlockQuery
from control.services.pages import Page
from control.services.pricing import Price, PriceRequest
from control.services.providers import PROVIDERS, ProviderQuery
from control.services.rate_cards import RATE_CARDS, RateCardQuery
from control.services.revision_rows import DiffQuery, RowQuery, RowShown
from control.services.revisions import Loaded, LoadQuery, Revision, RevisionQuery
from control.services.sip_users import SIP_USERS, SipUserQuery

_CUSTOMER: Final = Owner(CUSTOMERS, "/customers", "customer_id")
_PROVIDER: Final = Owner(PROVIDERS, "/providers", "provider_id")

_CONFIGURATION: Final = [
    *noun_routes(CUSTOMERS, "/customers", CustomerQuery),
    *noun_routes(CLIENTS, "/clients", ClientQuery),
    *noun_routes(ENDPOINTS, "/endpoints", EndpointQuery, owner=_CUSTOMER),
    *noun_routes(CONTACTS, "/contacts", ContactQuery, owner=_CUSTOMER),
    *noun_routes(NUMBER_BLOCKS, "/internal-number-blocks", NumberBlockQuery, owner=_CUSTOMER),
    *noun_routes(SIP_USERS, "/sip-users", SipUserQuery, owner=_CUSTOMER),
    *noun_routes(INGRESS_ROUTES, "/ingress-routes", IngressRouteQuery, owner=_CUSTOMER),
    *noun_routes(PROVIDERS, "/providers", ProviderQuery),
    *noun_routes(GATEWAYS, "/gateways", GatewayQuery, owner=_PROVIDER),
    *noun_routes(RATE_CARDS, "/rate-cards", RateCardQuery),
    *noun_routes(DIDS, "/dids", DidQuery, owner=_CUSTOMER),
]

_REVISION: Final = "/rate-cards/{card_id:int}/revisions/{revision_id:int}"

_REVISIONS: Final = [
    Route(
        method="GET",
        path="/rate-cards/{card_id:int}/revisions",
        handler=handlers.list_revisions,
        summary="List a card's revisions, the youngest first.",
        role="read-only",
        query=RevisionQuery,
        sorts=("id",),
        reply=Page[Revision],
    ),
    Route(
        method="POST",
        path="/rate-cards/{card_id:int}/revisions",
        handler=handlers.load_revision,
        summary="Load a price list (CSV or spreadsheet, as the body or as a form's file) as a new revision. "
        "A bad row refuses the whole file; each is named by line and reason.",
        role="operator",
        query=LoadQuery,
        body=bytes,
        reply=Loaded,
        status=201,
        body_bytes_max=UPLOAD_BYTES_MAX,
    ),
    Route(
        method="GET",
        path=_REVISION,
        handler=handlers.read_revision,
        summary="Read one revision's facts.",
        role="read-only",
        reply=Revision,
    ),
    Route(
        method="POST",
        path=_REVISION + "/activate",
        handler=handlers.activate_revision,
        summary="Put a revision in force, now or at a time.",
        role="operator",
        body=handlers.ActivateNew,
        reply=Revision,
    ),
    Route(
        method="POST",
        path=_REVISION + "/cancel",
        handler=handlers.cancel_revision,
        summary="Take back an activation that has not begun.",
        role="operator",
        reply=Revision,
    ),
    Route(
        method="POST",
        path="/rate-cards/{card_id:int}/rollback",
        handler=handlers.roll_back,
        summary="Put in force again what was before the active revision.",
        role="operator",
        reply=Revision,
    ),
    Route(
        method="GET",
        path=_REVISION + "/rows",
        handler=handlers.list_rate_rows,
        summary="List a revision's rows by prefix, or those that could price a number.",
        role="read-only",
        query=RowQuery,
        reply=Page[RowShown],
    ),
    Route(
        method="GET",
        path=_REVISION + "/diff",
        handler=handlers.diff_revision,
        summary="Compare a revision with the active one, or with another.",
        role="read-only",
        query=DiffQuery,
        reply=DeckDiff,
    ),
]

_CALLS: Final = [
    Route(
        method="GET",
        path="/cdrs",
        handler=handlers.list_cdrs,
        summary="List CDRs, the newest INVITE first.",
        role="read-only",
        query=CdrQuery,
        reply=Page[CdrShown],
    ),
    Route(
        method="GET",
        path="/customers/{customer_id:int}/cdrs",
        handler=handlers.list_cdrs_of,
        summary="The same of one customer.",
        role="read-only",
        query=CustomerCdrQuery,
        reply=Page[CdrShown],
    ),
    Route(
        method="GET",
        path="/cdrs/{cdr_id:str}",
        handler=handlers.read_cdr,
        summary="Read one CDR with its attempts, what became of each candidate, and what was corrected since.",
        role="read-only",
        reply=CdrDetail,
    ),
    Route(
        method="GET",
        path="/cdrs.csv",
        handler=handlers.export_csv,
        summary="Download CDRs in the order of arrival. `Tandem-Next-Cursor` is the next download's `after`.",
        role="read-only",
        query=CdrExportQuery,
        reply="text/csv",
    ),
    Route(
        method="GET",
        path="/cdrs.jsonl",
        handler=handlers.export_json_lines,
        summary="The same, one JSON object a line.",
        role="read-only",
        query=CdrExportQuery,
        reply="application/jsonl",
    ),
    Route(
        method="GET",
        path="/cdrs.parquet",
        handler=handlers.export_parquet,
        summary="The same as a Parquet file: amounts as decimals, attempts and explanation as JSON.",
        role="read-only",
        query=CdrExportQuery,
        reply=PARQUET,
    ),
    Route(
        method="GET",
        path="/calls",
        handler=handlers.list_calls,
        summary="List live calls, the youngest first.",
        role="read-only",
        query=CallQuery,
        reply=Page[CallShown],
    ),
    Route(
        method="POST",
        path="/calls/{cdr_id:str}/end",
        handler=handlers.end_call,
        summary="End a live call by BYE both ways.",
        role="operator",
        status=204,
    ),
    Route(
        method="POST",
        path="/simulate",
        handler=handlers.simulate,
        summary="Decide a call as the switch would, and send nothing.",
        role="read-only",
        body=SimulationNew,
        reply=Simulation,
    ),
    Route(
        method="POST",
        path="/rate-cards/{card_id:int}/price",
        handler=handlers.price_call,
        summary="Price a call by a card, step by step.",
        role="read-only",
        body=PriceRequest,
        reply=Price,
    ),
]

_KEYS: Final = [
    *(route for route in noun_routes(ADMIN_KEYS, "/admin-keys", AdminKeyQuery, role="admin") if route.method != "POST"),
    Route(
        method="POST",
        path="/admin-keys",
        handler=handlers.issue_key,
        summary="Make a key. It is shown in this answer and never again.",
        role="admin",
        body=AdminKeyNew,
        reply=AdminKeyCreated,
        status=201,
    ),
]

_INSTALLATION: Final = [
    Route(
        method="GET",
        path="/audit",
        handler=handlers.list_audit,
        summary="Who changed what, the newest first.",
        role="admin",
        query=AuditQuery,
        sorts=("id",),
        reply=Page[AuditRow],
    ),
    Route(
        method="GET",
        path="/stats/gateways",
        handler=handlers.gateway_stats,
        summary="Every gateway with its health.",
        role="read-only",
        reply=Page[GatewayStats],
    ),
    Route(
        method="GET",
        path="/currencies",
        handler=handlers.list_currencies,
        summary="Every currency that an account may have, for lists to pick from.",
        role="read-only",
        reply=Page[CurrencyShown],
    ),
    Route(
        method="GET",
        path="/alarms",
        handler=handlers.list_alarms,
        summary="What the switch has complained about since the control process began, the newest first.",
        role="read-only",
        reply=Page[handlers.AlarmRow],
    ),
    Route(
        method="GET",
        path="/health",
        handler=handlers.health,
        summary="Whether the control plane works, and whether it reaches the switch.",
        role=None,
        reply=handlers.Health,
    ),
    Route(
        method="GET",
        path="/metrics",
        handler=handlers.metrics,
        summary="Metrics for Prometheus.",
        role=None,
        reply=CONTENT_TYPE,
        is_rooted=True,
    ),
]

ROUTES: Final[tuple[Route, ...]] = (
    *_CONFIGURATION,
    *CLIENT_ROUTES,
    *CLIENT_BILLING_ROUTES,
    *CLIENT_SERVICE_ROUTES,
    *CLIENT_WIZARD_ROUTES,
    *CUSTOMER_ROUTES,
    *CLI_RULE_ROUTES,
    *DID_ROUTES,
    *CONTACT_ROUTES,
    *PORTAL_ROUTES,
    *_REVISIONS,
    *_CALLS,
    *TRACE_ROUTES,
    *MONEY_ROUTES,
    *BILLING_ROUTES,
    *INVOICE_ROUTES,
    *CONTRACT_ROUTES,
    *CREDIT_ROUTES,
    *RECALCULATION_ROUTES,
    *REGISTRATION_ROUTES,
    *STATS_ROUTES,
    *ANALYSIS,
    *SCHEDULED_CHANGE_ROUTES,
    *WEBHOOK_ROUTES,
    *ALERT_ROUTES,
    *_KEYS,
    *_INSTALLATION,
)
