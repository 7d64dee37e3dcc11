-- +goose Up

-- One row for each thing that leaves by its own, and for each hop of its plan.
create table deliveries (
    id           text primary key,
    root_id      text not null,              -- first hop; also the order within an order key
    hop          bigint not null,            -- 0 for the first
    next_id      text not null,              -- the hop that took over, or ''
    company_id   text not null,
    channel      text not null,
    account_id   text not null,
    source       text not null,              -- channel|account_id: what is claimed and throttled together
    address      text not null,
    lane         text not null,
    class        text not null,
    state        text not null,
    text_key     text not null,
    text         text not null,
    payload      text not null,              -- JSON or ''
    plan         text not null,              -- JSON array of the hops that may follow, or ''
    ref_kind     text not null,
    ref_id       text not null,
    ref_rev      bigint not null,
    order_key    text not null,              -- '' when its order does not matter
    supersede    boolean not null,
    due_at       timestamptz not null,       -- product's clock
    valid_until  timestamptz,                -- product's clock
    waits_until  timestamptz,                -- product's clock: end of the wait for a receipt
    lease_until  timestamptz,                -- machine's clock
    lease_by     text not null,
    attempts     bigint not null,            -- calls begun
    submissions  bigint not null,            -- calls that were or may have been accepted
    failures     bigint not null,            -- refused calls since the last accepted one
    code         text not null,              -- last code, ours or the vendor's
    created_at   timestamptz not null,
    updated_at   timestamptz not null,
    called_at    timestamptz,                -- first call
    submitted_at timestamptz,
    final_at     timestamptz
);

-- Claims: equality on lane and source, then in order of time. Only rows that
-- wait are in it, so that its size is the backlog and not the history.
create index deliveries_due on deliveries (lane, source, due_at, root_id) where state = 'planned';
create index deliveries_order on deliveries (order_key, root_id)
    where order_key <> '' and state in ('planned', 'claimed', 'sending');
create index deliveries_lease on deliveries (lease_until) where state in ('claimed', 'sending');
create index deliveries_valid on deliveries (valid_until) where state = 'planned' and valid_until is not null;
create index deliveries_waits on deliveries (waits_until) where waits_until is not null;
create index deliveries_ref on deliveries (ref_kind, ref_id, channel, state);
create index deliveries_hops on deliveries (root_id) where hop > 0;

-- One row for each call of a vendor, written before the call.
create table attempts (
    id           text primary key,           -- the out-id that the vendor echoes
    delivery_id  text not null references deliveries (id),
    n            bigint not null,            -- 1 for the first
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
    check_n      bigint not null,            -- look-ups done
    check_at     timestamptz,                -- next look-up, product's clock
    check_lease  timestamptz,                -- machine's clock
    absent_n     bigint not null,            -- look-ups in a row that did not find it
    absent_since timestamptz
);

create unique index attempts_n on attempts (delivery_id, n);
create index attempts_vendor on attempts (vendor_id) where vendor_id <> '';
create index attempts_check on attempts (channel, check_at) where check_at is not null;

-- Receipts as they came: kept until they are applied; those that match nothing
-- yet are tried again and thrown away in the end.
create table receipts (
    id          text primary key,
    channel     text not null,
    account_id  text not null,
    out_id      text not null,
    vendor_id   text not null,
    address     text not null,
    ok          boolean not null,
    transient   boolean not null,
    confirmed   boolean not null,
    code        text not null,
    at          timestamptz,
    received_at timestamptz not null,        -- machine's clock
    tries       bigint not null,
    try_at      timestamptz                  -- machine's clock; null: no more tries
);

create index receipts_try on receipts (try_at) where try_at is not null;
create index receipts_vendor on receipts (vendor_id) where vendor_id <> '';
create index receipts_age on receipts (received_at);

-- What residents answer to an SMS.
create table sms_uplinks (
    id          text primary key,
    company_id  text not null,
    account_id  text not null,
    phone       text not null,
    content     text not null,
    dest_code   text not null,
    sequence_id text not null,
    sent_at     text not null,               -- as the vendor wrote it
    received_at timestamptz not null,
    handled_at  timestamptz
);

create unique index sms_uplinks_once on sms_uplinks (account_id, sequence_id, phone, sent_at);
create index sms_uplinks_open on sms_uplinks (received_at) where handled_at is null;

-- +goose Down
drop table sms_uplinks;
drop table receipts;
drop table attempts;
drop table deliveries;
