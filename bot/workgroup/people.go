package workgroup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/ledger"
	"guanjia/internal/queue"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
)

// PeopleDeps is what People stand on.
type PeopleDeps struct {
	DB        *db.DB
	Clock     clock.Clock
	Staff     *staff.Staff
	Queues    *queue.Queues
	Companies *company.Store
	Ledger    *ledger.Ledger
	Book      *wording.Book
}

// People are the members, groups and queues of all companies as the work group
// needs them. It owns the transactions of the two bindings.
type People struct{ d PeopleDeps }

// NewPeople makes People.
func NewPeople(d PeopleDeps) *People { return &People{d: d} }

var _ Staff = (*People)(nil)

// Member implements Staff.
func (p *People) Member(ctx context.Context, companyID, from string) (staff.Member, bool, error) {
	return p.d.Staff.ByWeComID(ctx, p.d.DB, companyID, from)
}

// QueueOf implements Staff.
func (p *People) QueueOf(ctx context.Context, c Chat) (string, bool, error) {
	g, ok, err := p.d.Staff.GroupByChat(ctx, p.d.DB, c.BotID, c.ID)
	return g.QueueID, ok, err
}

// QueuesOf implements Staff.
func (p *People) QueuesOf(ctx context.Context, companyID, userID string) ([]string, error) {
	return p.d.Staff.QueuesOf(ctx, p.d.DB, companyID, userID)
}

// QueueName implements Staff. A queue that is gone is named by its id.
func (p *People) QueueName(ctx context.Context, companyID, queueID string) (string, error) {
	q, ok, err := p.d.Queues.ByID(ctx, p.d.DB, queueID)
	if err != nil {
		return "", fmt.Errorf("name queue: %w", err)
	}
	if !ok || q.CompanyID != companyID {
		return queueID, nil
	}
	return q.Name, nil
}

// QueueNames implements Staff.
func (p *People) QueueNames(ctx context.Context, companyID string) ([]string, error) {
	all, err := p.d.Queues.All(ctx, p.d.DB, companyID)
	if err != nil {
		return nil, fmt.Errorf("name queues: %w", err)
	}
	names := make([]string, len(all))
	for i, q := range all {
		names[i] = q.Name
	}
	return names, nil
}

// WhoMay implements Staff: those on duty first.
func (p *People) WhoMay(ctx context.Context, companyID string, right staff.Right) ([]staff.Member, error) {
	all, err := p.d.Staff.All(ctx, p.d.DB, companyID)
	if err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	all = slices.DeleteFunc(all, func(m staff.Member) bool { return !m.May(right) })
	slices.SortStableFunc(all, func(a, b staff.Member) int {
		switch {
		case a.OnDuty == b.OnDuty:
			return 0
		case a.OnDuty:
			return -1
		}
		return 1
	})
	return all, nil
}

// BindGroup implements Staff. A name that several projects' queues share must
// be given by the queue's id.
func (p *People) BindGroup(ctx context.Context, by staff.Member, c Chat, queueName string) (string, error) {
	if !by.May(staff.RightBindGroup) {
		return "", &desk.Refused{Code: refusedMayNotBind}
	}
	all, err := p.d.Queues.All(ctx, p.d.DB, c.CompanyID)
	if err != nil {
		return "", fmt.Errorf("bind group: list queues: %w", err)
	}
	target, ok := pickQueue(all, queueName)
	if !ok {
		return "", &desk.Refused{Code: refusedBindQueue, Args: map[string]string{"queues": queueList(all)}}
	}
	err = p.d.DB.InTx(ctx, "workgroup.bind_group", func(ctx context.Context, tx *db.Tx) error {
		_, err := p.d.Staff.BindGroupTx(ctx, tx, by, staff.WorkGroup{
			CompanyID: c.CompanyID, BotID: c.BotID, ChatID: c.ID, QueueID: target.ID,
		})
		return err
	})
	if errors.Is(err, staff.ErrForbidden) {
		return "", &desk.Refused{Code: refusedMayNotBind}
	}
	if err != nil {
		return "", fmt.Errorf("bind group: %w", err)
	}
	return target.Name, nil
}

func pickQueue(all []queue.Queue, name string) (queue.Queue, bool) {
	name = strings.TrimSuffix(strings.TrimSpace(fold(name)), "队列")
	var found []queue.Queue
	for _, q := range all {
		if q.ID == name {
			return q, true
		}
		if fold(q.Name) == name || strings.TrimSuffix(fold(q.Name), "队列") == name {
			found = append(found, q)
		}
	}
	if len(found) != 1 {
		return queue.Queue{}, false
	}
	return found[0], true
}

// queueList names the queues; those whose names are alike with their ids.
func queueList(all []queue.Queue) string {
	n := map[string]int{}
	for _, q := range all {
		n[q.Name]++
	}
	names := make([]string, len(all))
	for i, q := range all {
		names[i] = q.Name
		if n[q.Name] > 1 {
			names[i] += "（" + q.ID + "）"
		}
	}
	return strings.Join(names, "、")
}

// StartBind implements Staff. A phone that is nobody's gets no code, and the
// member learns no difference.
func (p *People) StartBind(ctx context.Context, companyID, from, phone string) error {
	dir, err := p.d.Companies.Directory(ctx)
	if err != nil {
		return fmt.Errorf("bind member: read company: %w", err)
	}
	sms, ok := dir.SMSOf(companyID)
	if !ok {
		return &desk.Refused{Code: refusedNoSMS}
	}
	c, _ := dir.Company(companyID)
	err = p.d.DB.InTx(ctx, "workgroup.bind_member", func(ctx context.Context, tx *db.Tx) error {
		start, err := p.d.Staff.StartMemberBindTx(ctx, tx, companyID, from, phone)
		if err != nil {
			return err
		}
		switch start.Outcome {
		case staff.TooSoon:
			return &desk.Refused{Code: refusedTooSoon}
		case staff.CodeSent:
			return p.sendCodeTx(ctx, tx, companyID, sms.ID, start, c.Settings.CodeTTL)
		case staff.NotRegistered:
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("bind member: %w", err)
	}
	return nil
}

func (p *People) sendCodeTx(ctx context.Context, tx *db.Tx, companyID, smsID string, start staff.BindStart, ttl time.Duration) error {
	minutes := strconv.FormatInt(max(1, int64(ttl/time.Minute)), 10)
	sms, err := p.d.Book.SMS("staff_code", wording.Vars{"code": start.Code, "minutes": minutes})
	if err != nil {
		return err
	}
	_, err = p.d.Ledger.PutTx(ctx, tx, ledger.New{
		CompanyID: companyID, Channel: ledger.ChannelSMS, AccountID: smsID, Address: start.Phone,
		Lane: ledger.LaneReply, Class: ledger.ClassCode, Text: sms.Text,
		Payload: map[string]any{"purpose": sms.Purpose, "params": sms.Params},
		RefKind: "bind", RefID: start.BindID, ValidUntil: p.d.Clock.Now().Add(ttl),
	})
	return err
}

// ConfirmBind implements Staff. A wrong code is committed as well: the tries
// are counted.
func (p *People) ConfirmBind(ctx context.Context, companyID, from, code string) (staff.Member, error) {
	var m staff.Member
	var refused *desk.Refused
	err := p.d.DB.InTx(ctx, "workgroup.confirm_member", func(ctx context.Context, tx *db.Tx) error {
		var err error
		m, err = p.d.Staff.ConfirmMemberBindTx(ctx, tx, companyID, from, code)
		refused = codeRefusal(err)
		if refused != nil {
			return nil
		}
		return err
	})
	if err != nil {
		return staff.Member{}, fmt.Errorf("confirm member: %w", err)
	}
	if refused != nil {
		return staff.Member{}, refused
	}
	return m, nil
}

func codeRefusal(err error) *desk.Refused {
	switch {
	case errors.Is(err, staff.ErrNoCode):
		return &desk.Refused{Code: refusedNoCode}
	case errors.Is(err, staff.ErrWrongCode):
		return &desk.Refused{Code: refusedWrongCode}
	case errors.Is(err, staff.ErrCodeExpired):
		return &desk.Refused{Code: refusedCodeExpired}
	default:
		return nil
	}
}
