-- Cases and their history (internal/desk).

-- +goose Up

-- Case numbers are handed out in blocks, so that openings do not queue for one row.
CREATE TABLE case_numbers (
    company_id text PRIMARY KEY,
    next_no    bigint NOT NULL
);

CREATE TABLE cases (
    id              text PRIMARY KEY,
    company_id      text NOT NULL,
    project_id      text NOT NULL,
    no              text NOT NULL,
    state           text NOT NULL,
    kind            text NOT NULL,
    category        text NOT NULL DEFAULT '',
    topic           text NOT NULL DEFAULT '',
    priority        text NOT NULL,
    level           text NOT NULL DEFAULT 'department',
    danger          text NOT NULL DEFAULT '',
    queue_id        text NOT NULL,
    unit_id         text NOT NULL DEFAULT '',
    unit            text NOT NULL DEFAULT '',
    building        text NOT NULL DEFAULT '',
    resident_id     text NOT NULL DEFAULT '',
    resident_name   text NOT NULL DEFAULT '',
    conversation_id text NOT NULL DEFAULT '',
    account_id      text NOT NULL DEFAULT '',
    openid          text NOT NULL DEFAULT '',
    phone           text NOT NULL DEFAULT '',
    owner_id        text NOT NULL DEFAULT '',
    owner_name      text NOT NULL DEFAULT '',
    summary         text NOT NULL,
    body            text NOT NULL,
    mode            text NOT NULL,
    measures        text NOT NULL DEFAULT '',
    follow_up       text NOT NULL DEFAULT '',
    rating          bigint NOT NULL DEFAULT 0,
    rating_text     text NOT NULL DEFAULT '',
    urges           bigint NOT NULL DEFAULT 0,
    opened_at       timestamptz NOT NULL,
    opened_day      text NOT NULL,
    promised_at     timestamptz,
    accept_by       timestamptz,
    accepted_at     timestamptz,
    first_reply_at  timestamptz,
    handled_at      timestamptz,
    closed_at       timestamptz,
    escalated_at    timestamptz,
    source_id       text,
    version         bigint NOT NULL,
    CONSTRAINT cases_no UNIQUE (company_id, no)
);

-- One message opens one case, whoever tries and however often.
CREATE UNIQUE INDEX cases_source ON cases (source_id) WHERE source_id IS NOT NULL;
-- What stands in the queues or is in somebody's hands: small however many are closed.
CREATE INDEX cases_open ON cases (company_id, queue_id, state)
    WHERE state IN ('dispatched', 'reopened', 'accepted', 'in_progress', 'waiting_resident', 'on_hold');
CREATE INDEX cases_accept_due ON cases (accept_by)
    WHERE state IN ('dispatched', 'reopened') AND escalated_at IS NULL;
CREATE INDEX cases_conversation ON cases (conversation_id, opened_at);
CREATE INDEX cases_resident ON cases (resident_id, opened_at);
CREATE INDEX cases_opened ON cases (company_id, opened_at, id);

CREATE TABLE case_events (
    case_id     text NOT NULL,
    seq         bigint NOT NULL,
    company_id  text NOT NULL,
    at          timestamptz NOT NULL,
    kind        text NOT NULL,
    by_id       text NOT NULL DEFAULT '',
    by_name     text NOT NULL DEFAULT '',
    via         text NOT NULL DEFAULT '',
    body        text NOT NULL DEFAULT '',
    delivery_id text NOT NULL DEFAULT '',
    from_state  text NOT NULL DEFAULT '',
    to_state    text NOT NULL,
    PRIMARY KEY (case_id, seq)
);
CREATE INDEX case_events_delivery ON case_events (delivery_id) WHERE delivery_id <> '';

-- +goose Down
DROP TABLE case_events;
DROP TABLE cases;
DROP TABLE case_numbers;
