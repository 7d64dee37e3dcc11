-- The open cases of a home (internal/desk): what is said again about one of
-- them joins it (R-018).

-- +goose Up
CREATE INDEX cases_unit ON cases (unit_id, opened_at)
    WHERE unit_id <> '' AND state IN ('dispatched', 'reopened', 'accepted', 'in_progress', 'waiting_resident', 'on_hold');

-- +goose Down
DROP INDEX cases_unit;
