-- Articles of the knowledge base, what they answered, and what nobody could
-- answer (internal/articles).

-- +goose Up

-- An article is a chain of versions. live is the version that answers residents
-- (0: none is approved yet), latest the newest one: where they differ, a change
-- waits for its approval while the old words go on answering.
CREATE TABLE articles (
    id         text PRIMARY KEY,
    company_id text NOT NULL REFERENCES companies (id),
    code       text NOT NULL,              -- its name in files, unique in the company
    owner      text NOT NULL,              -- userid of who keeps it right (R-035)
    review_at  timestamptz,                -- past it, it answers nobody until somebody looked at it
    live       bigint NOT NULL,
    latest     bigint NOT NULL,
    retired_at timestamptz,
    retired_by text NOT NULL,
    version    bigint NOT NULL,            -- compare-and-set
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX articles_code ON articles (company_id, code);

-- phrasings and buildings are JSON lists. A version without a project is for the
-- whole company, one without buildings for the whole project.
CREATE TABLE article_versions (
    article_id    text NOT NULL REFERENCES articles (id) ON DELETE CASCADE,
    n             bigint NOT NULL,
    question      text NOT NULL,
    phrasings     text NOT NULL,
    answer        text NOT NULL,
    topic         text NOT NULL,
    project_id    text NOT NULL,
    buildings     text NOT NULL,
    valid_from    timestamptz,
    valid_until   timestamptz,
    author        text NOT NULL,
    author_name   text NOT NULL,
    written_at    timestamptz NOT NULL,
    approved_by   text NOT NULL,
    approver_name text NOT NULL,
    approved_at   timestamptz,
    PRIMARY KEY (article_id, n)
);

-- Raised in the transaction of every change, so that each node sees that its
-- index is old.
CREATE TABLE article_stamps (
    company_id text PRIMARY KEY,
    stamp      bigint NOT NULL
);

-- Who got which version for which question (R-062), and what he thought of it
-- (R-206). no is unique in the conversation; it is the digits of the choices.
CREATE TABLE article_answers (
    id              text PRIMARY KEY,
    company_id      text NOT NULL,
    conversation_id text NOT NULL,
    no              bigint NOT NULL,
    article_id      text NOT NULL REFERENCES articles (id) ON DELETE CASCADE,
    article_version bigint NOT NULL,
    question        text NOT NULL,
    score           bigint NOT NULL,       -- thousandths
    answered_at     timestamptz NOT NULL,
    verdict         text NOT NULL CHECK (verdict IN ('', 'helpful', 'not_helpful')),
    verdict_at      timestamptz,
    case_no         text NOT NULL          -- of the person that a "no" brought
);
CREATE UNIQUE INDEX article_answers_no ON article_answers (conversation_id, no);
CREATE INDEX article_answers_article ON article_answers (article_id, answered_at);

-- Questions that went to a person: what is missing in the articles (R-082).
CREATE TABLE article_gaps (
    id         text PRIMARY KEY,
    company_id text NOT NULL,
    question   text NOT NULL,
    topic      text NOT NULL,
    nearest    text NOT NULL,              -- article id, '' for none
    score      bigint NOT NULL,            -- thousandths
    case_no    text NOT NULL,
    asked_at   timestamptz NOT NULL,
    settled_by text NOT NULL,
    settled_at timestamptz
);
CREATE INDEX article_gaps_open ON article_gaps (company_id, id) WHERE settled_at IS NULL;
