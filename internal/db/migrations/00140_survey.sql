-- Surveys: invitations, answers, counts (notify/survey).

-- +goose Up

-- draft is what was written, facts what was found out about it, form the
-- questionnaire in the version that this survey uses; all three are JSON. A
-- survey after a case or an inquiry stands all the time: one a project, kind and
-- version of its questionnaire (standing = that version, else '').
CREATE TABLE surveys (
    id            text PRIMARY KEY,
    company_id    text NOT NULL REFERENCES companies (id),
    no            text NOT NULL,            -- S0001
    number        bigint NOT NULL,
    project_id    text NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('after_case', 'after_inquiry', 'periodic', 'event')),
    state         text NOT NULL CHECK (state IN ('draft', 'approved', 'running', 'closed', 'cancelled')),
    standing      text NOT NULL,
    anonymous     boolean NOT NULL,
    count_by      text NOT NULL CHECK (count_by IN ('person', 'home')),
    draft         text NOT NULL,
    facts         text NOT NULL,
    form          text NOT NULL,
    form_id       text NOT NULL,
    author        text NOT NULL,
    author_name   text NOT NULL,
    approved_by   text NOT NULL,
    approver_name text NOT NULL,
    held          boolean NOT NULL,         -- outside the permitted hours nothing of it leaves
    created_at    timestamptz NOT NULL,
    approved_at   timestamptz,
    starts_at     timestamptz,
    ends_at       timestamptz,
    started_at    timestamptz,
    remind_at     timestamptz,              -- null: nobody is reminded, or all have been
    closed_at     timestamptz,
    version       bigint NOT NULL
);
CREATE UNIQUE INDEX surveys_no ON surveys (company_id, number);
CREATE UNIQUE INDEX surveys_standing ON surveys (company_id, project_id, kind, standing) WHERE standing <> '';
CREATE INDEX surveys_open ON surveys (state) WHERE state IN ('approved', 'running') AND standing = '';

CREATE TABLE survey_numbers (
    company_id text PRIMARY KEY,
    last       bigint NOT NULL
);

CREATE TABLE survey_events (
    id        text PRIMARY KEY,
    survey_id text NOT NULL REFERENCES surveys (id),
    at        timestamptz NOT NULL,
    kind      text NOT NULL,
    by_user   text NOT NULL,
    by_name   text NOT NULL,
    via       text NOT NULL,
    text      text NOT NULL
);
CREATE INDEX survey_events_of ON survey_events (survey_id, id);

-- Who is asked, or not and why: one row a person and survey, and case. The id is
-- hexadecimal: of a frozen sample the survey's id and the row's number, else a
-- new one. person is the resident, or the address of somebody who is not known.
-- count_key is what may answer once: the person, the home, or the case.
-- Nothing here changes when somebody answers an anonymous survey.
CREATE TABLE survey_invitations (
    id          text PRIMARY KEY,
    survey_id   text NOT NULL,
    company_id  text NOT NULL,
    person      text NOT NULL,
    resident_id text NOT NULL,
    name        text NOT NULL,
    unit_id     text NOT NULL,
    unit        text NOT NULL,
    building    text NOT NULL,
    count_key   text NOT NULL,
    ref_id      text NOT NULL,              -- the case, or ''
    ref_no      text NOT NULL,
    channel     text NOT NULL,              -- template, sms, chat; '' for none
    account_id  text NOT NULL,
    address     text NOT NULL,
    state       text NOT NULL CHECK (state IN ('waiting', 'asked', 'answered', 'skipped', 'over')),
    skip_code   text NOT NULL,
    asking      text NOT NULL,              -- question that the conversation is at; '' for the first
    doubted     boolean NOT NULL,           -- asked once more what was meant
    created_at  timestamptz NOT NULL,
    asked_at    timestamptz,
    talked_at   timestamptz,                -- when the last question was put in the conversation
    reminded_at timestamptz,
    answered_at timestamptz
);
CREATE UNIQUE INDEX survey_invitations_once ON survey_invitations (survey_id, person, ref_id);
CREATE INDEX survey_invitations_asked ON survey_invitations (company_id, person, asked_at) WHERE asked_at IS NOT NULL;
CREATE INDEX survey_invitations_address ON survey_invitations (company_id, address) WHERE asked_at IS NOT NULL;
CREATE INDEX survey_invitations_waiting ON survey_invitations (survey_id, building) WHERE state = 'waiting';
CREATE INDEX survey_invitations_ref ON survey_invitations (company_id, ref_id) WHERE ref_id <> '';

-- One answer a person, home or case (count_key). Of an anonymous survey
-- only words stand here, with the overall score, a random id and count_key, and
-- no invitation, person, unit, case or time. scores is |question:5|question:4|.
CREATE TABLE survey_answers (
    id            text PRIMARY KEY,
    survey_id     text NOT NULL,
    company_id    text NOT NULL,
    count_key     text NOT NULL,
    invitation_id text NOT NULL,
    resident_id   text NOT NULL,
    building      text NOT NULL,
    unit          text NOT NULL,
    ref_no        text NOT NULL,
    form_id       text NOT NULL,
    channel       text NOT NULL,
    scores        text NOT NULL,
    overall       bigint NOT NULL,          -- 0: none given
    comment       text NOT NULL,
    month         text NOT NULL,            -- 2026-11, local
    follow_up     text NOT NULL,            -- number of the case that a low score opened
    answered_at   timestamptz,
    changed_at    timestamptz
);
CREATE UNIQUE INDEX survey_answers_once ON survey_answers (survey_id, count_key);
CREATE INDEX survey_answers_words ON survey_answers (survey_id, id) WHERE comment <> '';

-- That a link of an anonymous survey has been used: a keyed hash of what counts
-- once. The key is not in the database.
CREATE TABLE survey_used (
    survey_id text NOT NULL,
    hash      text NOT NULL,
    PRIMARY KEY (survey_id, hash)
);

-- What results are read from: how many gave which score. Each answering
-- transaction brings it up to date. category is a code of the glossary,
-- 'overall', 'nps', or one of our own with score 0: #answers, #comments, and of
-- invitations #asked, #waiting, #reminded, #skip:CODE.
CREATE TABLE survey_counts (
    survey_id text NOT NULL,
    category  text NOT NULL,
    building  text NOT NULL,
    month     text NOT NULL,
    score     bigint NOT NULL,
    n         bigint NOT NULL,
    PRIMARY KEY (survey_id, category, building, month, score)
);

-- Who must not be asked for a time, such as the bereaved (R-167).
CREATE TABLE mutes (
    company_id  text NOT NULL,
    resident_id text NOT NULL,
    kind        text NOT NULL,
    until       timestamptz NOT NULL,
    by_user     text NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (company_id, resident_id, kind)
);

-- Consent to SMS of the class 推广, with where it came from.
CREATE TABLE sms_consents (
    company_id  text NOT NULL,
    resident_id text NOT NULL,
    source      text NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (company_id, resident_id)
);

-- What a supervisor must look at; closed when it is over.
CREATE TABLE survey_alarms (
    id         text PRIMARY KEY,
    company_id text NOT NULL,
    kind       text NOT NULL,
    ref        text NOT NULL,
    text       text NOT NULL,
    opened_at  timestamptz NOT NULL,
    closed_at  timestamptz
);
CREATE UNIQUE INDEX survey_alarms_open ON survey_alarms (company_id, kind, ref);

-- The heartbeat looks for closed cases that were not asked about.
CREATE INDEX cases_closed ON cases (company_id, closed_at) WHERE state = 'closed';

-- +goose Down
DROP INDEX cases_closed;
DROP TABLE survey_alarms;
DROP TABLE sms_consents;
DROP TABLE mutes;
DROP TABLE survey_counts;
DROP TABLE survey_used;
DROP TABLE survey_answers;
DROP TABLE survey_invitations;
DROP TABLE survey_events;
DROP TABLE survey_numbers;
DROP TABLE surveys;
