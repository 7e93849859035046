"""The snapshot's records by id, and the indexes that a call is decided by.

`load` takes a whole snapshot, `apply` a delta of it. Both build what can go wrong first and store
it after, so that calls see the state before or the state after and nothing between. A record that
cannot be used (a bad expression, a host that is no address) is left out of the indexes and named
in `problems`; it never keeps the others from loading.
"""

from __future__ import annotations

from pathlib import Path

from rating.numbers import DialPattern
from switch.policy.callers import Account, Caller, LoadedRoute, route_precedence
from switch.policy.cards import LoadedCard
from switch.policy.cli_rules import CliRules, CompiledRule
from switch.policy.margins import Margins
from switch.policy.places import did_places, endpoint_place
from switch.policy.prepared import Prepared, prepare
from switch.policy.sources import Sources
from switch.snapshot import (
    Client,
    CliRule,
    Customer,
    Delta,
    Did,
    Endpoint,
    Gateway,
    IngressRoute,
    Provider,
    Record,
    SipUser,
    Snapshot,
)


class StaleDelta(ValueError):
    """A delta that does not follow on the version held: the sender has to put a snapshot."""


class Tables:
    """All configuration that a call needs.

    Args:
        deck_folder: what relative deck paths start from; None: the working folder.
    """

    def __init__(self, deck_folder: Path | None) -> None:
        self.version: int = 0
        """Of the snapshot with its deltas; 0: none yet."""
        self.customers: dict[int, Customer] = {}
        self.clients: dict[int, Client] = {}
        self.endpoints: dict[int, Endpoint] = {}
        self.users: dict[int, SipUser] = {}
        self.routes: dict[int, IngressRoute] = {}
        self.providers: dict[int, Provider] = {}
        self.gateways: dict[int, Gateway] = {}
        self.cards: dict[int, LoadedCard] = {}
        self.dids: dict[int, Did] = {}
        self.cli_rules: dict[int, CliRule] = {}

        self.sources: Sources = Sources()
        self.users_by_name: dict[tuple[str, str], SipUser] = {}
        """By user name and realm."""
        self.endpoint_callers: dict[int, Caller] = {}
        self.endpoint_places: dict[int, Gateway] = {}
        """Where endpoints that receive calls are, by endpoint id."""
        self.did_places: dict[int, list[Gateway | None]] = {}
        """Where the URIs of a DID are, one for each destination."""
        self.user_callers: dict[int, Caller] = {}
        self.routes_by_customer: dict[int, list[LoadedRoute]] = {}
        """Enabled ones, in the order in which they are tried."""
        self.gateways_by_provider: dict[int, list[Gateway]] = {}
        """By id, disabled ones too."""
        self.dids_by_number: dict[str, Did] = {}
        """By E.164 digits; of two records with one number the first made has it."""
        self.margins: Margins = Margins()
        self.problems: dict[tuple[str, int], str] = {}
        """What is wrong with a record, by its tag and id, in words."""

        self._deck_folder: Path | None = deck_folder
        self._accounts: dict[int, Account] = {}
        self._customers_by_client: dict[int, set[int]] = {}
        self._cards_by_provider: dict[int, set[int]] = {}
        self._namesakes: dict[tuple[str, str], set[int]] = {}
        self._dids_of_number: dict[str, set[int]] = {}
        self._patterns: dict[str, DialPattern] = {}
        self._rules_by_customer: dict[int, dict[int, CompiledRule | None]] = {}
        """Enabled ones by id; None: it cannot be used."""
        self._unsettled: set[int] = set()
        """Customers whose rules have changed and are not in their accounts yet."""

    def load(self, snapshot: Snapshot) -> None:
        """Take a whole snapshot in place of everything held. Decks that stay are not opened again."""
        fresh = Tables(self._deck_folder)
        fresh.cards = self.cards
        prepared = fresh._prepare(snapshot.records)
        fresh.cards = {}
        for each in prepared:
            fresh._store(each)
        fresh._settle_rules()
        self.version = snapshot.version
        self.customers = fresh.customers
        self.clients = fresh.clients
        self.endpoints = fresh.endpoints
        self.users = fresh.users
        self.routes = fresh.routes
        self.providers = fresh.providers
        self.gateways = fresh.gateways
        self.cards = fresh.cards
        self.dids = fresh.dids
        self.cli_rules = fresh.cli_rules
        self.sources = fresh.sources
        self.users_by_name = fresh.users_by_name
        self.endpoint_callers = fresh.endpoint_callers
        self.endpoint_places = fresh.endpoint_places
        self.did_places = fresh.did_places
        self.user_callers = fresh.user_callers
        self.routes_by_customer = fresh.routes_by_customer
        self.gateways_by_provider = fresh.gateways_by_provider
        self.dids_by_number = fresh.dids_by_number
        self.margins = fresh.margins
        self.problems = fresh.problems
        self._accounts = fresh._accounts
        self._customers_by_client = fresh._customers_by_client
        self._cards_by_provider = fresh._cards_by_provider
        self._namesakes = fresh._namesakes
        self._dids_of_number = fresh._dids_of_number
        self._patterns = fresh._patterns
        self._rules_by_customer = fresh._rules_by_customer

    def apply(self, delta: Delta) -> None:
        """Take one delta: removals first, then what is put, in any order.

        Raises:
            StaleDelta: it is not the one after `version`; nothing has changed then.
        """
        if delta.version != self.version + 1:
            raise StaleDelta(f"delta {delta.version} does not follow version {self.version}")
        prepared = self._prepare(delta.put)
        # Everything old leaves the indexes before anything new enters them: two users may swap
        # their names within one delta.
        for key in delta.remove:
            self._forget(key.kind, key.id)
        for each in prepared:
            self._unlink(each.record)
        for each in prepared:
            self._store(each)
        self._settle_rules()
        self.version = delta.version

    def find_user(self, username: str) -> SipUser | None:
        """A user by `name` or `name@realm`; a name alone must be in one realm only."""
        name, at, realm = username.rpartition("@")
        if at and (name, realm) in self.users_by_name:
            return self.users_by_name[name, realm]
        found = [user for (known, _), user in self.users_by_name.items() if known == username]
        return found[0] if len(found) == 1 else None

    def account_of(self, customer_id: int) -> Account | None:
        """A customer's account; None where the customer is not there."""
        account = self._accounts.get(customer_id)
        return None if account is None or account.customer is None else account

    def _prepare(self, records: tuple[Record, ...]) -> list[Prepared]:
        """All that can go wrong; of two records with one tag and id the later counts."""
        last: dict[tuple[type, int], Record] = {}
        for record in records:
            last[type(record), record.id] = record
        cards = self.cards
        return [prepare(record, self._deck_folder, cards.get(record.id), self._patterns) for record in last.values()]

    # Nothing from here on can go wrong: dictionaries change hands.

    def _store(self, prepared: Prepared) -> None:
        record = prepared.record
        if isinstance(record, Customer):
            self.customers[record.id] = record
            account = self._account(record.id)
            account.set_customer(record)
            account.client = None if record.client_id is None else self.clients.get(record.client_id)
            if record.client_id is not None:
                self._customers_by_client.setdefault(record.client_id, set()).add(record.id)
            self._note("customer", record.id, prepared.problem)
        elif isinstance(record, Client):
            self.clients[record.id] = record
            for customer_id in self._customers_by_client.get(record.id, ()):
                self._account(customer_id).client = record
            self._note("client", record.id, prepared.problem)
        elif isinstance(record, Endpoint):
            self.endpoints[record.id] = record
            caller = Caller(record, None, self._account(record.customer_id), prepared.pattern, None)
            self.endpoint_callers[record.id] = caller
            if prepared.is_usable and record.enabled and record.direction == "egress":
                self.sources.add(caller, record.host)
            place = endpoint_place(record)
            if place is not None:
                self.endpoint_places[record.id] = place
            self._note("endpoint", record.id, prepared.problem)
        elif isinstance(record, SipUser):
            self._store_user(record, prepared)
        elif isinstance(record, IngressRoute):
            self.routes[record.id] = record
            dial = prepared.dial
            if dial is not None and record.enabled:
                routes = [*self.routes_by_customer.get(record.customer_id, ()), LoadedRoute(record, dial)]
                routes.sort(key=route_precedence)
                self.routes_by_customer[record.customer_id] = routes
            self._note("ingress_route", record.id, prepared.problem)
        elif isinstance(record, Provider):
            self.providers[record.id] = record
            for card_id in self._cards_by_provider.get(record.id, ()):
                self.cards[card_id].provider = record
            self._note("provider", record.id, prepared.problem)
        elif isinstance(record, Gateway):
            self.gateways[record.id] = record
            gateways = [*self.gateways_by_provider.get(record.provider_id, ()), record]
            gateways.sort(key=_gateway_id)
            self.gateways_by_provider[record.provider_id] = gateways
            self._note("gateway", record.id, prepared.problem)
        elif isinstance(record, Did):
            self.dids[record.id] = record
            self.did_places[record.id] = did_places(record)
            self._dids_of_number.setdefault(record.number, set()).add(record.id)
            self._settle_number(record.number)
        elif isinstance(record, CliRule):
            self.cli_rules[record.id] = record
            self._note("cli_rule", record.id, prepared.problem)
            if record.enabled:
                self._rules_by_customer.setdefault(record.customer_id, {})[record.id] = prepared.rule
                self._unsettled.add(record.customer_id)
        else:
            card = prepared.card
            if card is not None:
                self._store_card(card)
            self._note("rate_card", record.id, prepared.problem)

    def _store_card(self, card: LoadedCard) -> None:
        self.cards[card.id] = card
        self.margins.clear()
        provider_id = card.record.provider_id
        if provider_id is not None:
            self._cards_by_provider.setdefault(provider_id, set()).add(card.id)
            card.provider = self.providers.get(provider_id)

    def _settle_number(self, number: str) -> None:
        """Of DIDs with one number the first made has it; the others are left out, and say so."""
        namesakes = self._dids_of_number.get(number)
        if not namesakes:
            self.dids_by_number.pop(number, None)
            self._dids_of_number.pop(number, None)
            return
        first = min(namesakes)
        self.dids_by_number[number] = self.dids[first]
        self.problems.pop(("did", first), None)
        for did_id in namesakes:
            if did_id != first:
                self._note("did", did_id, f"DID {first} has the same number")

    def _store_user(self, record: SipUser, prepared: Prepared) -> None:
        self.users[record.id] = record
        self._note("sip_user", record.id, prepared.problem)
        if prepared.is_usable:
            self.user_callers[record.id] = Caller(
                None, record, self._account(record.customer_id), prepared.pattern, prepared.allowed
            )
            name = (record.username, record.realm)
            self._namesakes.setdefault(name, set()).add(record.id)
            self._settle_name(name)

    def _settle_name(self, name: tuple[str, str]) -> None:
        """Of users with one name the first made has it; the others are left out, and say so."""
        namesakes = self._namesakes.get(name)
        if not namesakes:
            self.users_by_name.pop(name, None)
            self._namesakes.pop(name, None)
            return
        first = min(namesakes)
        self.users_by_name[name] = self.users[first]
        self.problems.pop(("sip_user", first), None)
        for user_id in namesakes:
            if user_id != first:
                self._note("sip_user", user_id, f"user {first} has the same name and realm")

    def _unlink(self, record: Record) -> None:
        """Take what is held under a record's tag and id out of the indexes."""
        if isinstance(record, Customer):
            self._forget("customer", record.id)
        elif isinstance(record, Client):
            pass  # It is only ever replaced: customers keep pointing at its id.
        elif isinstance(record, Endpoint):
            self._forget("endpoint", record.id)
        elif isinstance(record, SipUser):
            self._forget("sip_user", record.id)
        elif isinstance(record, IngressRoute):
            self._forget("ingress_route", record.id)
        elif isinstance(record, Provider):
            pass
        elif isinstance(record, Gateway):
            self._forget("gateway", record.id)
        elif isinstance(record, Did):
            self._forget("did", record.id)
        elif isinstance(record, CliRule):
            self._forget("cli_rule", record.id)
        else:
            self._forget("rate_card", record.id)

    def _forget(self, kind: str, record_id: int) -> None:
        """Drop a record from its dictionary and all indexes; an unknown one changes nothing."""
        self.problems.pop((kind, record_id), None)
        if kind == "customer":
            customer = self.customers.pop(record_id, None)
            if customer is not None:
                account = self._account(record_id)
                account.set_customer(None)
                account.client = None
                if customer.client_id is not None:
                    _drop_from(self._customers_by_client, customer.client_id, record_id)
        elif kind == "client":
            if self.clients.pop(record_id, None) is not None:
                for customer_id in self._customers_by_client.get(record_id, ()):
                    self._account(customer_id).client = None
        elif kind == "endpoint":
            endpoint = self.endpoints.pop(record_id, None)
            if endpoint is not None:
                self.sources.discard(self.endpoint_callers.pop(record_id), endpoint.host)
                self.endpoint_places.pop(record_id, None)
        elif kind == "sip_user":
            user = self.users.pop(record_id, None)
            if user is not None and self.user_callers.pop(record_id, None) is not None:
                name = (user.username, user.realm)
                self._namesakes[name].discard(record_id)
                self._settle_name(name)
        elif kind == "ingress_route":
            route = self.routes.pop(record_id, None)
            if route is not None:
                kept = [r for r in self.routes_by_customer.get(route.customer_id, ()) if r.record.id != record_id]
                self.routes_by_customer[route.customer_id] = kept
        elif kind == "provider":
            if self.providers.pop(record_id, None) is not None:
                for card_id in self._cards_by_provider.get(record_id, ()):
                    self.cards[card_id].provider = None
        elif kind == "gateway":
            gateway = self.gateways.pop(record_id, None)
            if gateway is not None:
                others = [g for g in self.gateways_by_provider[gateway.provider_id] if g.id != record_id]
                self.gateways_by_provider[gateway.provider_id] = others
        elif kind == "rate_card":
            card = self.cards.pop(record_id, None)
            if card is not None and card.record.provider_id is not None:
                _drop_from(self._cards_by_provider, card.record.provider_id, record_id)
        elif kind == "did":
            did = self.dids.pop(record_id, None)
            self.did_places.pop(record_id, None)
            if did is not None:
                self._dids_of_number[did.number].discard(record_id)
                self._settle_number(did.number)
        elif kind == "cli_rule":
            rule = self.cli_rules.pop(record_id, None)
            if rule is not None:
                compiled = self._rules_by_customer.get(rule.customer_id)
                if compiled is not None and record_id in compiled:
                    del compiled[record_id]
                    self._unsettled.add(rule.customer_id)

    def _settle_rules(self) -> None:
        """Bring rules that changed into the accounts that calls are decided by."""
        for customer_id in self._unsettled:
            rules = self._rules_by_customer.get(customer_id)
            if not rules:
                self._rules_by_customer.pop(customer_id, None)
                self._account(customer_id).cli_rules = None
            else:
                # One that cannot be used matches nothing; losing the last one must not open the customer.
                usable = [rule for rule in rules.values() if rule is not None]
                self._account(customer_id).cli_rules = CliRules(usable)
        self._unsettled.clear()

    def _account(self, customer_id: int) -> Account:
        account = self._accounts.get(customer_id)
        if account is None:
            account = self._accounts[customer_id] = Account(customer_id)
        return account

    def _note(self, kind: str, record_id: int, problem: str) -> None:
        if problem:
            self.problems[kind, record_id] = problem
        else:
            self.problems.pop((kind, record_id), None)


def _drop_from(index: dict[int, set[int]], key: int, value: int) -> None:
    members = index.get(key)
    if members is not None:
        members.discard(value)
        if not members:
            del index[key]


def _gateway_id(gateway: Gateway) -> int:
    return gateway.id
