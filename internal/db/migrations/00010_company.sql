-- Companies, their accounts, and the short codes that are sent by SMS
-- (internal/company, internal/company/onetime).

-- +goose Up

CREATE TABLE companies (
    id       text PRIMARY KEY,
    name     text NOT NULL,
    short    text NOT NULL,
    settings text NOT NULL -- JSON
);

-- settings: JSON in the open. sealed: JSON under the master key, bound to its
-- row. address: what the account is unique by within its kind.
CREATE TABLE channel_accounts (
    id         text PRIMARY KEY,
    company_id text NOT NULL REFERENCES companies (id),
    kind       text NOT NULL CHECK (kind IN ('wechat', 'wecom_bot', 'wecom_corp', 'wecom_webhook', 'sms')),
    address    text NOT NULL,
    settings   text NOT NULL,
    sealed     text NOT NULL
);
CREATE UNIQUE INDEX channel_accounts_address ON channel_accounts (kind, address);

-- scope: what may have one code at a time (a home, a phone).
CREATE TABLE code_limits (
    company_id text NOT NULL,
    scope      text NOT NULL,
    sent_at    timestamptz NOT NULL,
    PRIMARY KEY (company_id, scope)
);

-- target is empty when nobody stands behind the request: then no code fits.
CREATE TABLE one_time_codes (
    id         text PRIMARY KEY,
    company_id text NOT NULL,
    purpose    text NOT NULL,
    subject    text NOT NULL,
    target     text NOT NULL,
    detail     text NOT NULL,
    code_mac   text NOT NULL,
    tries      bigint NOT NULL DEFAULT 0,
    issued_at  timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX one_time_codes_subject ON one_time_codes (company_id, subject, purpose, issued_at);
