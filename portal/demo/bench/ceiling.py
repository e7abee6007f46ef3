"""The ceiling of paid orders: pgbench writes the rows of one wallet order of 4 lines, on the site's own tables and server.

The same tables with their indexes, constraints and triggers, the same locks in the same order, prepared statements, and
nothing of Python: what the platform could reach if it cost nothing. Each transaction pays a cart that was filled
beforehand. The books are not verified afterwards: the carts, and the money to pay them with, are written without triggers.

Prints the orders a second of each number of clients.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import django
from django.db import connection

CLIENTS = (1, 4)

# Two children of nobody's on two days for each cart, as the measured family takes; wallets of the year's families in turn.
# A person has one live cart at a time: these are done before they are paid, and paying writes the same row once more.
PREPARE = """
    SET session_replication_role = replica;
    DROP TABLE IF EXISTS bench_line, bench_cart;
    DROP SEQUENCE IF EXISTS bench_next;
    CREATE SEQUENCE bench_next;
    UPDATE wallet_wallet SET balance = balance + 100000;
    CREATE TABLE bench_cart AS
        WITH payer AS (
            SELECT user_id, account_id, row_number() OVER (ORDER BY id) - 1 AS turn, count(*) OVER () AS payers
            FROM wallet_wallet
        ), place AS (
            SELECT sold.tariff_id, slot.id AS slot_id, day.activity_id, service.commune_id, account.id AS revenue_id
            FROM wallet_account account
            JOIN services_service service ON service.commune_id = account.commune_id
            JOIN services_activity activity ON activity.service_id = service.id
            JOIN services_slot slot ON slot.activity_id = activity.id
            JOIN services_openday day ON day.activity_id = activity.id
            JOIN LATERAL (SELECT id AS tariff_id FROM services_tariff WHERE slot_id = slot.id LIMIT 1) sold ON true
            WHERE account.kind = 'revenue'
            GROUP BY 1, 2, 3, 4, 5 HAVING count(*) > 1 ORDER BY 2 LIMIT 1
        )
        SELECT n, user_id, account_id, place.*,
               nextval('bookings_hold_id_seq') AS hold_id, nextval('checkout_cart_id_seq') AS cart_id,
               (SELECT max(id) FROM accounts_terms WHERE kind = 'sale') AS terms_id
        FROM generate_series(1, {carts}) n JOIN payer ON payer.turn = n % payers CROSS JOIN place;
    ALTER TABLE bench_cart ADD PRIMARY KEY (n);
    INSERT INTO bookings_hold (id, user_id, expires_at) SELECT hold_id, user_id, now() + interval '1 hour' FROM bench_cart;
    INSERT INTO checkout_cart (id, user_id, hold_id, terms_id, status, created_at)
        SELECT cart_id, user_id, hold_id, terms_id, 'done', now() FROM bench_cart;
    CREATE TABLE bench_line AS
        SELECT n, slot_id, nextval('bookings_booking_id_seq') AS booking_id, day.id AS open_day_id, day.date,
               nextval('families_beneficiary_id_seq') AS beneficiary_id
        FROM bench_cart
        CROSS JOIN generate_series(1, 2) child
        JOIN LATERAL (
            SELECT id, date FROM services_openday WHERE activity_id = bench_cart.activity_id ORDER BY date DESC LIMIT 2
        ) day ON true;
    CREATE INDEX ON bench_line (n);
    INSERT INTO families_beneficiary (id, first_name, last_name, birth_date, created_at)
        SELECT beneficiary_id, 'Enfant', 'Plafond', DATE '2016-01-01', now() FROM bench_line;
    INSERT INTO bookings_booking (id, beneficiary_id, open_day_id, slot_id, hold_id, period, may_overlap, is_late, status,
                                  made_by_id, created_at, ended_reason)
        SELECT booking_id, beneficiary_id, open_day_id, line.slot_id, hold_id,
               tstzrange((date + starts_at) AT TIME ZONE 'Europe/Paris', (date + ends_at) AT TIME ZONE 'Europe/Paris'),
               false, false, 'held', user_id, now(), ''
        FROM bench_line line JOIN bench_cart cart USING (n) JOIN services_slot slot ON slot.id = line.slot_id;
    INSERT INTO checkout_cartline (cart_id, booking_id, tariff_id, unit_price, surcharge, explanation)
        SELECT cart_id, booking_id, tariff_id, 3.80, 0, '' FROM bench_line JOIN bench_cart USING (n);
    RESET session_replication_role;
    ANALYZE bench_cart, bench_line, bookings_booking, checkout_cart, checkout_cartline, families_beneficiary;
"""

# What checkout.actions.pay writes, in its order. chr(58) is a colon: with one, pgbench would look for a variable.
PAY = r"""
SELECT nextval('bench_next') AS n \gset
SELECT user_id, account_id, commune_id, revenue_id, cart_id, terms_id FROM bench_cart WHERE n = :n \gset
BEGIN;
SELECT 1 FROM checkout_cart WHERE id = :cart_id FOR UPDATE;
INSERT INTO checkout_order (reference, user_id, kind, status, total, cart_id, billing_address, terms_id, created_at)
    VALUES (upper(substr(md5(:n::bigint::text), 1, 20)), :user_id, 'booking', 'pending', 15.20, :cart_id,
            '12 rue du Rocher, 43000 Aiguilhe', :terms_id, now())
    RETURNING id AS order_id \gset
INSERT INTO checkout_orderline (order_id, kind, booking_id, commune_id, label, detail, beneficiary_name, date, note,
                                unit_price, surcharge, discount, explanation)
    SELECT :order_id, 'booking', booking_id, :commune_id, 'Cantine scolaire', 'Repas', 'Enfant Plafond', date, '', 3.80, 0, 0,
           'Repas, Résident : 3,80 € (délibération n° 2026-45 du 03/06/2026)'
    FROM bench_line WHERE n = :n;
UPDATE bookings_booking SET status = 'booked', booked_at = now()
    WHERE id IN (SELECT booking_id FROM bench_line WHERE n = :n) AND status = 'held';
INSERT INTO checkout_payment (order_id, reference, provider, method, amount, status, provider_reference, created_at, ended_at)
    VALUES (:order_id, upper(substr(md5('p' || :n::bigint::text), 1, 20)), 'wallet', '', 15.20, 'captured', '', now(), now());
SELECT balance FROM wallet_wallet WHERE account_id = :account_id FOR NO KEY UPDATE;
INSERT INTO wallet_movement (kind, key, label, at, by_id)
    VALUES ('order', 'order:' || :order_id::bigint::text || chr(58) || 'paid', 'Commande', now(), :user_id)
    RETURNING id AS movement_id \gset
INSERT INTO wallet_entry (movement_id, account_id, amount)
    VALUES (:movement_id, :account_id, -15.20), (:movement_id, :revenue_id, 15.20);
UPDATE checkout_order SET status = 'paid', paid_at = now() WHERE id = :order_id;
UPDATE checkout_cart SET status = 'done' WHERE id = :cart_id;
DELETE FROM checkout_cartline WHERE cart_id = :cart_id;
INSERT INTO outbox_email (key, "to", subject, body, html, attachment, status, attempts, next_attempt_at, last_error, created_at)
    VALUES ('order:' || :order_id::bigint::text || chr(58) || 'paid', 'plafond@bench.example', 'Votre commande est payée',
            repeat('Vos réservations sont confirmées. ', 20), '', 'receipt:' || :order_id::bigint::text, 'waiting', 0, now(),
            '', now());
COMMIT;
"""


def measure(pgbench: str, orders: int) -> list[float]:
    """Orders a second for each of CLIENTS, over so many orders of each client."""
    with connection.cursor() as cursor:
        cursor.execute(PREPARE.replace("{carts}", str(orders * sum(CLIENTS))))
        cursor.execute("SELECT count(*) FROM bench_line")
        assert cursor.fetchone()[0] == 4 * orders * sum(CLIENTS)
    server = connection.settings_dict
    where = {"PGHOST": server["HOST"], "PGPORT": server["PORT"], "PGUSER": server["USER"], "PGDATABASE": server["NAME"]}
    env = {**os.environ, **{name: str(value) for name, value in where.items() if value}}
    connection.close()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "commande.sql"
        script.write_text(PAY)
        return [_orders_a_second(pgbench, script, clients, orders, env) for clients in CLIENTS]


def _orders_a_second(pgbench: str, script: Path, clients: int, orders: int, env: dict[str, str]) -> float:
    sizes = ["-c", str(clients), "-j", str(clients), "-t", str(orders)]
    done = subprocess.run(
        [pgbench, "-n", "-M", "prepared", *sizes, "-f", str(script)], env=env, capture_output=True, text=True
    )
    found = re.search(r"^tps = ([\d.]+)", done.stdout, re.M)
    if done.returncode or found is None or f"{clients * orders}/{clients * orders}" not in done.stdout:
        raise SystemExit(f"{done.stdout}{done.stderr}")
    return float(found[1])


if __name__ == "__main__":
    django.setup()
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
