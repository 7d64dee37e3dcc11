package staff

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/company/onetime"
	"guanjia/internal/db"
)

// Staff reads and writes the people of the company. Safe for concurrent use.
type Staff struct {
	db       *db.DB
	clock    clock.Clock
	codes    *onetime.Codes
	settings func(companyID string) company.Settings
	hashing  chan struct{} // one argon2id at a time: each takes 19 MiB
	dummy    string        // what an unknown user's password is compared with

	groupsChanged atomic.Uint64
}

// New builds a Staff. The settings of a company say how often and for how long
// a code is given; nil means the defaults for all.
func New(d *db.DB, c clock.Clock, s *company.Sealer, settings func(companyID string) company.Settings) *Staff {
	if settings == nil {
		settings = func(string) company.Settings { return company.DefaultSettings() }
	}
	return &Staff{db: d, clock: c, codes: onetime.New(c, s), settings: settings, hashing: make(chan struct{}, 1), dummy: dummyHash}
}

const memberColumns = `s.company_id, s.userid, s.name, s.role, coalesce(s.phone, ''), s.state, s.on_duty`

func scanMember(scan func(...any) error, more ...any) (Member, error) {
	var m Member
	var state string
	err := scan(append([]any{&m.CompanyID, &m.UserID, &m.Name, &m.Role, &m.Phone, &state, &m.OnDuty}, more...)...)
	m.Trainee = state == stateTrainee || Role(m.Role) == RoleTrainee
	m.Left = state == stateLeft
	return m, err
}

// States of a member's row.
const (
	stateActive  = "active"
	stateTrainee = "trainee"
	stateLeft    = "left"
)

// PutTx adds or changes a member.
func (s *Staff) PutTx(ctx context.Context, tx *db.Tx, m Member) error {
	if !KnownRole(Role(m.Role)) {
		return fmt.Errorf("staff: unknown role %q", m.Role)
	}
	state := stateActive
	switch {
	case m.Left:
		state = stateLeft
	case m.Trainee || Role(m.Role) == RoleTrainee:
		state = stateTrainee
	}
	phone := sql.NullString{String: m.Phone, Valid: m.Phone != ""}
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO staff (company_id, userid, name, role, phone, state, on_duty) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (company_id, userid) DO UPDATE
		SET name = excluded.name, role = excluded.role, phone = excluded.phone, state = excluded.state, on_duty = excluded.on_duty`,
		m.CompanyID, m.UserID, m.Name, m.Role, phone, state, m.OnDuty); err != nil {
		return fmt.Errorf("staff: put member: %w", err)
	}
	return nil
}

// SetOnDutyTx says whether a member is on duty.
func (s *Staff) SetOnDutyTx(ctx context.Context, tx *db.Tx, companyID, userID string, on bool) error {
	if _, err := tx.ExecContext(ctx, `UPDATE staff SET on_duty = $3 WHERE company_id = $1 AND userid = $2`, companyID, userID, on); err != nil {
		return fmt.Errorf("staff: set on duty: %w", err)
	}
	return nil
}

// ByUserID finds a member who works here.
func (s *Staff) ByUserID(ctx context.Context, q db.Querier, companyID, userID string) (Member, bool, error) {
	return s.member(ctx, q, `SELECT `+memberColumns+` FROM staff s WHERE s.company_id = $1 AND s.userid = $2 AND s.state <> 'left'`, companyID, userID)
}

// ByWeComID finds the member whom the vendor names so: by a binding, otherwise
// by the plain userid.
func (s *Staff) ByWeComID(ctx context.Context, q db.Querier, companyID, wecomID string) (Member, bool, error) {
	m, ok, err := s.member(ctx, q, `
		SELECT `+memberColumns+` FROM staff_wecom_ids w JOIN staff s ON s.company_id = w.company_id AND s.userid = w.userid
		WHERE w.company_id = $1 AND w.wecom_id = $2 AND s.state <> 'left'`, companyID, wecomID)
	if ok || err != nil {
		return m, ok, err
	}
	return s.ByUserID(ctx, q, companyID, wecomID)
}

func (s *Staff) byPhone(ctx context.Context, q db.Querier, companyID, phone string) (Member, bool, error) {
	return s.member(ctx, q, `SELECT `+memberColumns+` FROM staff s WHERE s.company_id = $1 AND s.phone = $2 AND s.state <> 'left'`, companyID, phone)
}

func (s *Staff) member(ctx context.Context, q db.Querier, query string, args ...any) (Member, bool, error) {
	m, err := scanMember(q.QueryRowContext(ctx, query, args...).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Member{}, false, nil
	}
	if err != nil {
		return Member{}, false, fmt.Errorf("staff: find member: %w", err)
	}
	return m, true, nil
}

// All gives the members who work here, by userid.
func (s *Staff) All(ctx context.Context, q db.Querier, companyID string) ([]Member, error) {
	return s.members(ctx, q, `SELECT `+memberColumns+` FROM staff s WHERE s.company_id = $1 AND s.state <> 'left' ORDER BY s.userid`, companyID)
}

// QueueMembers gives the members who work on a queue, by userid.
func (s *Staff) QueueMembers(ctx context.Context, q db.Querier, queueID string) ([]Member, error) {
	return s.members(ctx, q, `
		SELECT `+memberColumns+` FROM queue_members m JOIN staff s ON s.company_id = m.company_id AND s.userid = m.userid
		WHERE m.queue_id = $1 AND s.state <> 'left' ORDER BY s.userid`, queueID)
}

// OnDutyFor gives whom a loud text about the queue mentions: its members on
// duty who may act, and the company's duty managers, who are rung whether or
// not a roster says so.
func (s *Staff) OnDutyFor(ctx context.Context, q db.Querier, queueID string) ([]Member, error) {
	return s.members(ctx, q, `
		SELECT `+memberColumns+` FROM staff s
		WHERE s.state = 'active'
		  AND s.company_id IN (SELECT company_id FROM queue_members WHERE queue_id = $1 UNION SELECT company_id FROM work_groups WHERE queue_id = $1)
		  AND (s.role = 'duty_manager'
		       OR s.on_duty AND EXISTS (SELECT 1 FROM queue_members m WHERE m.queue_id = $1 AND m.company_id = s.company_id AND m.userid = s.userid))
		ORDER BY s.userid`, queueID)
}

func (s *Staff) members(ctx context.Context, q db.Querier, query string, args ...any) ([]Member, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("staff: list members: %w", err)
	}
	defer rows.Close()
	var out []Member
	for rows.Next() {
		m, err := scanMember(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("staff: list members: %w", err)
		}
		out = append(out, m)
	}
	return out, rows.Err()
}

// PutQueueMemberTx puts a member on a queue, or changes his capacity there.
func (s *Staff) PutQueueMemberTx(ctx context.Context, tx *db.Tx, m QueueMember) error {
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO queue_members (company_id, queue_id, userid, capacity) VALUES ($1, $2, $3, $4)
		ON CONFLICT (queue_id, userid) DO UPDATE SET capacity = excluded.capacity`,
		m.CompanyID, m.QueueID, m.UserID, m.Capacity); err != nil {
		return fmt.Errorf("staff: put queue member: %w", err)
	}
	return nil
}

// IsQueueMember tells whether a member works on a queue.
func (s *Staff) IsQueueMember(ctx context.Context, q db.Querier, queueID, userID string) (bool, error) {
	_, ok, err := s.Capacity(ctx, q, queueID, userID)
	return ok, err
}

// Capacity tells how many cases a member may hold (0: the company's default),
// and whether he works on the queue at all. A member's cases are counted over
// all his queues.
func (s *Staff) Capacity(ctx context.Context, q db.Querier, queueID, userID string) (int, bool, error) {
	var capacity int
	err := q.QueryRowContext(ctx, `SELECT capacity FROM queue_members WHERE queue_id = $1 AND userid = $2`, queueID, userID).Scan(&capacity)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("staff: find queue member: %w", err)
	}
	return capacity, true, nil
}

// QueuesOf gives the ids of the queues a member works on.
func (s *Staff) QueuesOf(ctx context.Context, q db.Querier, companyID, userID string) ([]string, error) {
	rows, err := q.QueryContext(ctx, `SELECT queue_id FROM queue_members WHERE company_id = $1 AND userid = $2 ORDER BY queue_id`, companyID, userID)
	if err != nil {
		return nil, fmt.Errorf("staff: list queues of member: %w", err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("staff: list queues of member: %w", err)
		}
		out = append(out, id)
	}
	return out, rows.Err()
}

const groupColumns = `id, company_id, bot_id, chatid, name, queue_id`

func scanGroup(scan func(...any) error) (WorkGroup, error) {
	var g WorkGroup
	err := scan(&g.ID, &g.CompanyID, &g.BotID, &g.ChatID, &g.Name, &g.QueueID)
	return g, err
}

// GroupByChat finds the work group of a chat; chat ids are case-sensitive.
func (s *Staff) GroupByChat(ctx context.Context, q db.Querier, botID, chatID string) (WorkGroup, bool, error) {
	g, err := scanGroup(q.QueryRowContext(ctx, `SELECT `+groupColumns+` FROM work_groups WHERE bot_id = $1 AND chatid = $2`, botID, chatID).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return WorkGroup{}, false, nil
	}
	if err != nil {
		return WorkGroup{}, false, fmt.Errorf("staff: find work group: %w", err)
	}
	return g, true, nil
}

// GroupsChanged rises whenever this node has bound a group: who remembers the
// groups reads again.
func (s *Staff) GroupsChanged() uint64 { return s.groupsChanged.Load() }

// GroupsOfQueue gives the work groups bound to a queue.
func (s *Staff) GroupsOfQueue(ctx context.Context, q db.Querier, queueID string) ([]WorkGroup, error) {
	return s.groups(ctx, q, `SELECT `+groupColumns+` FROM work_groups WHERE queue_id = $1 ORDER BY id`, queueID)
}

// Groups gives the work groups of a company.
func (s *Staff) Groups(ctx context.Context, q db.Querier, companyID string) ([]WorkGroup, error) {
	return s.groups(ctx, q, `SELECT `+groupColumns+` FROM work_groups WHERE company_id = $1 ORDER BY id`, companyID)
}

func (s *Staff) groups(ctx context.Context, q db.Querier, query string, arg string) ([]WorkGroup, error) {
	rows, err := q.QueryContext(ctx, query, arg)
	if err != nil {
		return nil, fmt.Errorf("staff: list work groups: %w", err)
	}
	defer rows.Close()
	var out []WorkGroup
	for rows.Next() {
		g, err := scanGroup(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("staff: list work groups: %w", err)
		}
		out = append(out, g)
	}
	return out, rows.Err()
}

// ErrForbidden: the member lacks the right.
var ErrForbidden = errors.New("staff: not allowed")

// BindGroupTx binds a chat to a queue; a chat bound before changes its queue.
// Only who has RightBindGroup may (ErrForbidden). The audit notes it.
func (s *Staff) BindGroupTx(ctx context.Context, tx *db.Tx, by Member, g WorkGroup) (WorkGroup, error) {
	if !by.May(RightBindGroup) {
		return WorkGroup{}, ErrForbidden
	}
	return s.PutGroupTx(ctx, tx, by.UserID, g)
}

// PutGroupTx is BindGroupTx without the question who may: for setting up.
func (s *Staff) PutGroupTx(ctx context.Context, tx *db.Tx, actor string, g WorkGroup) (WorkGroup, error) {
	if g.ID == "" {
		g.ID = db.NewID()
	}
	if g.Name == "" {
		g.Name = g.ChatID
	}
	// A chat of another company's bot cannot be taken over: the bot's id is
	// part of the key, and a bot has one company.
	if err := tx.QueryRowContext(ctx, `
		INSERT INTO work_groups (id, company_id, bot_id, chatid, name, queue_id, bound_by, bound_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (bot_id, chatid) DO UPDATE
		SET queue_id = excluded.queue_id, bound_by = excluded.bound_by, bound_at = excluded.bound_at
		RETURNING id, name`,
		g.ID, g.CompanyID, g.BotID, g.ChatID, g.Name, g.QueueID, actor, db.At(s.clock.Now())).Scan(&g.ID, &g.Name); err != nil {
		return WorkGroup{}, fmt.Errorf("staff: bind work group: %w", err)
	}
	tx.AfterCommit(func(context.Context) { s.groupsChanged.Add(1) })
	return g, s.AuditTx(ctx, tx, Entry{CompanyID: g.CompanyID, Actor: actor, Action: "bind_group", Object: g.ID, Detail: "queue " + g.QueueID})
}

// AuditTx adds a line to the audit. At is the clock's when it is zero.
func (s *Staff) AuditTx(ctx context.Context, tx *db.Tx, e Entry) error {
	if e.At.IsZero() {
		e.At = s.clock.Now()
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO audit_entries (id, company_id, at, actor, action, object, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		db.NewID(), e.CompanyID, db.At(e.At), e.Actor, e.Action, e.Object, e.Detail); err != nil {
		return fmt.Errorf("staff: write audit: %w", err)
	}
	return nil
}

// Audit gives the newest lines of the audit, newest first, at most limit (1 to 500).
func (s *Staff) Audit(ctx context.Context, q db.Querier, companyID string, limit int) ([]Entry, error) {
	rows, err := q.QueryContext(ctx, `
		SELECT company_id, at, actor, action, object, detail FROM audit_entries WHERE company_id = $1 ORDER BY at DESC, id DESC LIMIT $2`,
		companyID, max(1, min(limit, 500)))
	if err != nil {
		return nil, fmt.Errorf("staff: read audit: %w", err)
	}
	defer rows.Close()
	var out []Entry
	for rows.Next() {
		var e Entry
		var at db.Time
		if err := rows.Scan(&e.CompanyID, &at, &e.Actor, &e.Action, &e.Object, &e.Detail); err != nil {
			return nil, fmt.Errorf("staff: read audit: %w", err)
		}
		e.At = at.Time
		out = append(out, e)
	}
	return out, rows.Err()
}
