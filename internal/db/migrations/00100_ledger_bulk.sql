-- +goose Up

-- A part of a reference is held and freed apart from the rest: the canary goes
-- first. '' for all that is not divided.
alter table deliveries add column part text not null default '';

-- What must not leave: a whole reference (part '') or a part of it. One row
-- holds any number of deliveries, since those of a bulk have a source of their
-- own (channel|account|kind:id|part), which claims then pass over.
create table delivery_holds (
    tail       text primary key,             -- kind:id or kind:id|part
    ref_kind   text not null,
    ref_id     text not null,
    part       text not null,
    reason     text not null,                -- ours, of a closed list of the holder; no words of people
    withdrawn  boolean not null,             -- what still waits is being cancelled, and whatever comes back
    held_at    timestamptz not null
);

create index delivery_holds_ref on delivery_holds (ref_kind, ref_id);

-- How many submissions of an account were or may have been accepted on a day of
-- the vendors (UTC+8): what its daily cap is held against.
create table account_days (
    source text not null,                    -- channel|account_id
    day    text not null,                    -- 2026-11-25
    n      bigint not null,
    primary key (source, day)
);

-- One row: how far the book has come, against which nodes notice that the
-- database went back in time (a restored backup), and the lock that follows.
create table send_state (
    id        text primary key,              -- 'one'
    born      text not null,                 -- names this database, its copies too
    beat      bigint not null,               -- grows while anything is sent
    locked_at timestamptz,                   -- nothing is sent until released
    reason    text not null
);

-- An attempt is written for each call, and checking its foreign key took half of
-- the time of that write. Both rows are the ledger's own, written by one
-- function; so the key goes, by a new table, since SQLite can't drop it.
create table attempts_free (
    id           text primary key,
    delivery_id  text not null,
    n            bigint not null,
    channel      text not null,
    account_id   text not null,
    address      text not null,
    state        text not null,
    outcome      text not null,
    vendor_id    text not null,
    code         text not null,
    started_at   timestamptz not null,
    ended_at     timestamptz,
    receipt_code text not null,
    receipt_at   timestamptz,
    check_n      bigint not null,
    check_at     timestamptz,
    check_lease  timestamptz,
    absent_n     bigint not null,
    absent_since timestamptz
);
insert into attempts_free (id, delivery_id, n, channel, account_id, address, state, outcome, vendor_id, code, started_at, ended_at,
    receipt_code, receipt_at, check_n, check_at, check_lease, absent_n, absent_since)
select id, delivery_id, n, channel, account_id, address, state, outcome, vendor_id, code, started_at, ended_at,
    receipt_code, receipt_at, check_n, check_at, check_lease, absent_n, absent_since from attempts;
drop table attempts;
alter table attempts_free rename to attempts;
create unique index attempts_n on attempts (delivery_id, n);
create index attempts_vendor on attempts (vendor_id) where vendor_id <> '';
create index attempts_check on attempts (channel, check_at) where check_at is not null;

-- What other rooms may join: how far each delivery is. reached: the reader has
-- it as far as one can know. settled: nothing more will follow.
create view delivery_states as
select id, root_id, hop, next_id, company_id, ref_kind, ref_id, channel, state, code,
       (state = 'delivered'
        or (state = 'submitted' and channel not in ('template', 'sms', 'call'))) as reached,
       (state in ('delivered', 'failed', 'no_receipt', 'skipped', 'expired', 'cancelled')
        or (state = 'submitted' and channel not in ('template', 'sms', 'call'))) as settled,
       submitted_at, final_at
from deliveries;

-- An answer by SMS is bound to the home that it came from, and one that cannot
-- be handled now lets the others pass.
alter table sms_uplinks add column resident_id text not null default '';
alter table sms_uplinks add column unit_id text not null default '';
alter table sms_uplinks add column handled_by text not null default '';
alter table sms_uplinks add column tries bigint not null default 0;
create index sms_uplinks_home on sms_uplinks (company_id, unit_id, received_at) where unit_id <> '';

-- +goose Down
drop index sms_uplinks_home;
alter table sms_uplinks drop column tries;
alter table sms_uplinks drop column handled_by;
alter table sms_uplinks drop column unit_id;
alter table sms_uplinks drop column resident_id;
drop view delivery_states;
drop table send_state;
drop table account_days;
drop table delivery_holds;
alter table deliveries drop column part;
