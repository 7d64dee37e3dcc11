package desk

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"

	"guanjia/internal/db"
	"guanjia/internal/ledger"
	"guanjia/internal/queue"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
)

// authorize settles, once for every way in, whether a member may do something
// to a case: he must be known, hold the right, and belong to the case's queue
// or supervise it.
func (d *Desk) authorize(ctx context.Context, q db.Querier, by By, right staff.Right, c Case) error {
	if by.Trusted {
		return nil
	}
	m, ok, err := d.staff.ByUserID(ctx, q, by.CompanyID, by.UserID)
	if err != nil {
		return err
	}
	if !ok {
		return refuse(RefusedUnbound)
	}
	if m.Trainee && right != staff.RightNote {
		return refuse(RefusedTrainee, "case_no", c.No)
	}
	if !m.May(right) {
		return refuse(RefusedNoRight, "case_no", c.No)
	}
	if m.May(staff.RightSupervise) {
		return nil
	}
	member, err := d.staff.IsQueueMember(ctx, q, c.QueueID, by.UserID)
	if err != nil {
		return err
	}
	if !member {
		return refuse(RefusedNoRight, "case_no", c.No)
	}
	return nil
}

// mine refuses a member who does not have the case in hand, unless he supervises.
func (d *Desk) mine(ctx context.Context, q db.Querier, by By, c Case) error {
	if c.OwnerID == "" {
		return refuse(RefusedNotClaimed, "case_no", c.No)
	}
	if c.OwnerID == by.UserID || by.Trusted {
		return nil
	}
	m, ok, err := d.staff.ByUserID(ctx, q, by.CompanyID, by.UserID)
	if err != nil {
		return err
	}
	if ok && m.May(staff.RightSupervise) {
		return nil
	}
	return refuse(RefusedNotYours, "case_no", c.No, "owner", c.OwnerName)
}

// Claim gives a waiting case to the member who asks first and tells the
// resident who has it. Claiming again what one already has answers the case
// unchanged; a loser learns who has it (RefusedTaken).
func (d *Desk) Claim(ctx context.Context, by By, caseID string) (Case, error) {
	c, err := d.read(ctx, by, caseID)
	if err != nil {
		return Case{}, err
	}
	if err := d.authorize(ctx, d.db, by, staff.RightClaim, c); err != nil {
		return Case{}, err
	}
	switch {
	case !c.State.Waiting() && !c.State.InHand():
		return Case{}, refuse(RefusedState, "case_no", c.No, "state", string(c.State))
	case c.OwnerID != "" && c.OwnerID != by.UserID:
		return Case{}, refuse(RefusedTaken, "case_no", c.No, "owner", c.OwnerName)
	case c.State.InHand():
		return c, nil
	}
	reservation, reserved, err := d.reserve(ctx, by, c)
	if err != nil {
		return Case{}, err
	}
	claimed, err := d.move(ctx, by, caseID, ActionClaim, func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		if c.OwnerID != "" && c.OwnerID != by.UserID {
			return Event{}, refuse(RefusedTaken, "case_no", c.No, "owner", c.OwnerName)
		}
		c.OwnerID, c.OwnerName = by.UserID, by.Name
		c.AcceptedAt = d.clock.Now()
		return d.tellAcceptedTx(ctx, tx, by, *c)
	})
	if err != nil {
		if reserved {
			d.release(ctx, reservation)
		}
		return d.lostClaim(ctx, by, caseID, err)
	}
	return claimed, nil
}

// lostClaim says in the claimer's terms why the row refused him: it is his
// already (a double click), or somebody else has it, by name. Which state that
// left the case in was not his question.
func (d *Desk) lostClaim(ctx context.Context, by By, caseID string, err error) (Case, error) {
	var refused *Refused
	if !errors.As(err, &refused) || refused.Code != RefusedState {
		return Case{}, err
	}
	c, readErr := d.read(ctx, by, caseID)
	switch {
	case readErr != nil || c.OwnerID == "" || !c.State.InHand():
		return Case{}, err
	case c.OwnerID == by.UserID:
		return c, nil
	default:
		return Case{}, refuse(RefusedTaken, "case_no", c.No, "owner", c.OwnerName)
	}
}

// reserve takes the case out of Redis for this member. Without Redis the row
// alone decides (architecture section 5).
func (d *Desk) reserve(ctx context.Context, by By, c Case) (queue.Reservation, bool, error) {
	settings, _, err := d.settings(ctx, c.CompanyID)
	if err != nil {
		return queue.Reservation{}, false, err
	}
	capacity, _, err := d.staff.Capacity(ctx, d.db, c.QueueID, by.UserID)
	if err != nil {
		return queue.Reservation{}, false, err
	}
	if capacity == 0 {
		capacity = settings.Capacity
	}
	r, err := d.queues.Reserve(ctx, c.CompanyID, c.QueueID, c.ID, by.UserID, c.Version, capacity)
	var taken *queue.TakenError
	switch {
	case err == nil:
		return r, true, nil
	case errors.As(err, &taken) && taken.By != by.UserID:
		holder, ok, lookErr := d.staff.ByUserID(ctx, d.db, by.CompanyID, taken.By)
		if lookErr == nil && ok {
			// Another member is between reservation and row: he has it as good as in hand.
			return r, false, refuse(RefusedTaken, "case_no", c.No, "owner", holder.Name)
		}
		return r, false, nil
	case errors.Is(err, queue.ErrCapacity):
		return r, false, refuse(RefusedCapacity, "case_no", c.No)
	default:
		// Gone or not known there, or Redis is away: the row decides.
		return r, false, nil
	}
}

func (d *Desk) release(ctx context.Context, r queue.Reservation) {
	if err := d.queues.Release(context.WithoutCancel(ctx), r); err != nil {
		d.log.WarnContext(ctx, "reservation not released; the reconciler will", "error", err)
	}
}

func (d *Desk) tellAcceptedTx(ctx context.Context, tx *db.Tx, by By, c Case) (Event, error) {
	if c.Topic == TopicBinding {
		return Event{}, nil // whoever tries a binding must not learn that staff look at it
	}
	settings, _, err := d.settings(ctx, c.CompanyID)
	if err != nil {
		return Event{}, err
	}
	key := "case.accepted"
	if c.Emergency() {
		key = "case.accepted_danger"
	}
	text, err := d.book.Say(key, wording.Vars{"case_no": c.No, "staff": by.Name, "promised": wording.When(c.PromisedAt, d.clock.Now()), "hotline": settings.Hotline})
	if err != nil {
		return Event{}, err
	}
	id, err := d.tellTx(ctx, tx, c, text, telling{class: ledger.ClassReply, by: by.Name})
	if err != nil {
		return Event{}, err
	}
	if by.Via != "group" {
		if err := d.groupTx(ctx, tx, c, "group.claimed", wording.Vars{"case_no": c.No, "staff": by.Name}); err != nil {
			return Event{}, err
		}
	}
	return Event{DeliveryID: id}, nil
}

// Reply sends a member's words to the resident, signed and past the
// guard. They wait `hold` so that 撤回 can stop them; an emergency does
// not wait. A waiting case is claimed for the member on the way, since whoever
// answers first has it (R-009, first-contact responsibility).
func (d *Desk) Reply(ctx context.Context, by By, caseID, text string) (c Case, hold time.Duration, err error) {
	return d.send(ctx, by, caseID, saying{action: ActionReply, text: text})
}

// Override is Reply for words that the guard holds back although they are
// right: whoever supervises may let them pass, and the audit keeps who did
//
func (d *Desk) Override(ctx context.Context, by By, caseID, text string) (c Case, hold time.Duration, err error) {
	if err := d.supervises(ctx, by, caseID); err != nil {
		return Case{}, 0, err
	}
	return d.send(ctx, by, caseID, saying{action: ActionReply, text: text, override: true})
}

func (d *Desk) supervises(ctx context.Context, by By, caseID string) error {
	if by.Trusted {
		return nil
	}
	m, ok, err := d.staff.ByUserID(ctx, d.db, by.CompanyID, by.UserID)
	if err != nil {
		return err
	}
	if ok && m.May(staff.RightSupervise) {
		return nil
	}
	c, err := d.read(ctx, by, caseID)
	if err != nil {
		return err
	}
	return refuse(RefusedNoRight, "case_no", c.No)
}

// saying is what goes to the resident, and how.
type saying struct {
	action   Action
	text     string
	override bool
	name     string // who signs; empty: who acts
	// check looks at the case once more inside the transaction.
	check func(ctx context.Context, tx *db.Tx) error
}

func (d *Desk) send(ctx context.Context, by By, caseID string, s saying) (c Case, hold time.Duration, err error) {
	text := tidy(s.text)
	if text == "" {
		return Case{}, 0, &Refused{Code: RefusedText, Field: "text"}
	}
	c, err = d.read(ctx, by, caseID)
	if err != nil {
		return Case{}, 0, err
	}
	if err := d.authorize(ctx, d.db, by, staff.RightReply, c); err != nil {
		return Case{}, 0, err
	}
	settings, dir, err := d.settings(ctx, by.CompanyID)
	if err != nil {
		return Case{}, 0, err
	}
	owner, _ := dir.Company(by.CompanyID)
	words, passed, err := d.staffWords(text, wording.Sign{Company: owner.Short, Name: cmp.Or(s.name, by.Name)}, s.override)
	if err != nil {
		return Case{}, 0, heldBack(err, c, "text")
	}
	if c.State.Waiting() {
		if c, err = d.Claim(ctx, by, caseID); err != nil {
			return Case{}, 0, err
		}
	}
	if !c.Emergency() {
		hold = settings.ReplyHold
	}
	c, err = d.move(ctx, by, caseID, s.action, func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		if s.check != nil {
			if err := s.check(ctx, tx); err != nil {
				return Event{}, err
			}
		}
		now := d.clock.Now()
		if c.FirstReplyAt.IsZero() {
			c.FirstReplyAt = now
		}
		var notBefore time.Time
		if hold > 0 {
			notBefore = now.Add(hold)
		}
		id, err := d.tellTx(ctx, tx, *c, words, telling{class: ledger.ClassReply, notBefore: notBefore, by: cmp.Or(s.name, by.Name)})
		if err != nil {
			return Event{}, err
		}
		if id == "" {
			return Event{}, refuse(RefusedUnreachable, "case_no", c.No)
		}
		if passed != "" {
			err = d.staff.AuditTx(ctx, tx, staff.Entry{CompanyID: c.CompanyID, Actor: by.UserID, Action: "override_guard", Object: c.ID, Detail: passed})
		}
		return Event{Text: text, DeliveryID: id}, err
	})
	return c, hold, err
}

// staffWords puts typed words past the guard. passed is the phrase that an
// override let through.
func (d *Desk) staffWords(text string, sign wording.Sign, override bool) (words wording.Text, passed string, err error) {
	words, err = d.book.Staff(text, sign)
	var held wording.ErrHeld
	if err == nil || !override || !errors.As(err, &held) {
		return words, "", err
	}
	words, err = d.book.Override(text, sign)
	return words, held.Found, err
}

// heldBack turns the guard's no into a refusal that names the passage.
func heldBack(err error, c Case, field string) error {
	var held wording.ErrHeld
	if errors.As(err, &held) {
		return &Refused{Code: RefusedHeld, Field: field, Args: map[string]string{"case_no": c.No, "phrase": held.Found}}
	}
	var long wording.ErrTooLong
	if errors.As(err, &long) {
		return &Refused{Code: RefusedTooLong, Field: field, Args: map[string]string{"case_no": c.No}}
	}
	return err
}

// tidy takes out of typed words what no page shows and PostgreSQL refuses to
// store: control characters and broken UTF-8.
func tidy(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return strings.TrimSpace(s)
}

// Recall stops the member's last words to the resident while they wait.
// RefusedTooLate when they have left.
func (d *Desk) Recall(ctx context.Context, by By, caseID string) (Case, error) {
	c, err := d.read(ctx, by, caseID)
	if err != nil {
		return Case{}, err
	}
	if err := d.authorize(ctx, d.db, by, staff.RightReply, c); err != nil {
		return Case{}, err
	}
	events, err := d.Events(ctx, caseID)
	if err != nil {
		return Case{}, err
	}
	last := lastWords(events, by.UserID)
	if last == "" {
		return Case{}, refuse(RefusedTooLate, "case_no", c.No)
	}
	return d.move(ctx, by, caseID, ActionRecall, func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		ok, err := d.ledger.CancelTx(ctx, tx, last)
		if err != nil {
			return Event{}, err
		}
		if !ok {
			return Event{}, refuse(RefusedTooLate, "case_no", c.No)
		}
		return Event{DeliveryID: last}, nil
	})
}

// lastWords is the delivery of the member's last reply that he has not taken
// back, or "".
func lastWords(events []Event, userID string) string {
	recalled := map[string]bool{}
	for _, e := range slices.Backward(events) {
		switch {
		case e.ByID != userID:
		case e.Kind == string(ActionRecall):
			recalled[e.DeliveryID] = true
		case (e.Kind == string(ActionReply) || e.Kind == string(ActionApprove)) && !recalled[e.DeliveryID]:
			return e.DeliveryID
		}
	}
	return ""
}

// Note adds words that never leave the company.
func (d *Desk) Note(ctx context.Context, by By, caseID, text string) (Case, error) {
	text = tidy(text)
	if text == "" {
		return Case{}, &Refused{Code: RefusedText, Field: "text"}
	}
	c, err := d.read(ctx, by, caseID)
	if err != nil {
		return Case{}, err
	}
	if err := d.authorize(ctx, d.db, by, staff.RightNote, c); err != nil {
		return Case{}, err
	}
	return d.move(ctx, by, caseID, ActionNote, func(_ context.Context, _ *db.Tx, _ *Case) (Event, error) {
		return Event{Text: text}, nil
	})
}

// Assign names the member who is to accept the case; he still says yes by claiming.
func (d *Desk) Assign(ctx context.Context, by By, caseID, to string) (Case, error) {
	c, err := d.read(ctx, by, caseID)
	if err != nil {
		return Case{}, err
	}
	if err := d.authorize(ctx, d.db, by, staff.RightAssign, c); err != nil {
		return Case{}, err
	}
	m, ok, err := d.staff.ByUserID(ctx, d.db, by.CompanyID, to)
	if err != nil {
		return Case{}, err
	}
	able := false
	if ok {
		if able, err = d.couldClaim(ctx, m, c); err != nil {
			return Case{}, err
		}
	}
	if !able {
		return Case{}, &Refused{Code: RefusedUnknownStaff, Field: "to"}
	}
	settings, _, err := d.settings(ctx, by.CompanyID)
	if err != nil {
		return Case{}, err
	}
	return d.move(ctx, by, caseID, ActionAssign, func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		c.OwnerID, c.OwnerName = m.UserID, m.Name
		c.AcceptBy, _ = d.deadlines(settings, c.CompanyID, d.clock.Now(), c.Priority)
		c.EscalatedAt = time.Time{}
		if err := d.cardsTx(ctx, tx, *c); err != nil {
			return Event{}, err
		}
		vars := wording.Vars{"case_no": c.No, "staff": m.Name, "by": by.Name}
		return Event{Text: m.Name}, d.groupTx(ctx, tx, *c, "group.assigned", vars)
	})
}

// couldClaim tells whether a member could accept a case: one that is assigned
// to somebody who can't would stand for ever.
func (d *Desk) couldClaim(ctx context.Context, m staff.Member, c Case) (bool, error) {
	err := d.authorize(ctx, d.db, By{CompanyID: m.CompanyID, UserID: m.UserID}, staff.RightClaim, c)
	var refused *Refused
	if errors.As(err, &refused) {
		return false, nil
	}
	return err == nil, err
}

// Transfer moves a case to another queue, with a reason; the other side must
// accept.
func (d *Desk) Transfer(ctx context.Context, by By, caseID, queueNameOrID, reason string) (Case, error) {
	reason = tidy(reason)
	c, err := d.read(ctx, by, caseID)
	if err != nil {
		return Case{}, err
	}
	if reason == "" {
		return Case{}, &Refused{Code: RefusedReason, Field: "reason", Args: map[string]string{"case_no": c.No}}
	}
	if err := d.authorize(ctx, d.db, by, staff.RightTransfer, c); err != nil {
		return Case{}, err
	}
	target, ok, err := d.findQueue(ctx, by.CompanyID, c.ProjectID, queueNameOrID)
	if err != nil {
		return Case{}, err
	}
	if !ok {
		return Case{}, &Refused{Code: RefusedUnknownQueue, Field: "queue", Args: map[string]string{"case_no": c.No, "queue": queueNameOrID}}
	}
	if target.ID == c.QueueID {
		return Case{}, &Refused{Code: RefusedSameQueue, Field: "queue", Args: map[string]string{"case_no": c.No, "queue": target.Name}}
	}
	settings, _, err := d.settings(ctx, by.CompanyID)
	if err != nil {
		return Case{}, err
	}
	return d.move(ctx, by, caseID, ActionTransfer, func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		if c.OwnerID != "" {
			if err := d.mine(ctx, tx, by, *c); err != nil {
				return Event{}, err
			}
		}
		left := *c
		c.QueueID, c.OwnerID, c.OwnerName = target.ID, "", ""
		c.AcceptBy, _ = d.deadlines(settings, c.CompanyID, d.clock.Now(), c.Priority)
		c.EscalatedAt = time.Time{}
		if err := d.cardsTx(ctx, tx, *c); err != nil {
			return Event{}, err
		}
		return Event{Text: target.Name + ": " + reason}, d.transferredTx(ctx, tx, by, left, *c, target.Name, reason)
	})
}

// transferredTx tells the group that gets the case why, and the one that loses
// it that it is gone; who transferred it in that group has his answer already.
func (d *Desk) transferredTx(ctx context.Context, tx *db.Tx, by By, left, c Case, target, reason string) error {
	from, _, err := d.queues.ByID(ctx, tx, left.QueueID)
	if err != nil {
		return err
	}
	if err := d.groupTx(ctx, tx, c, "group.transferred_in", wording.Vars{"case_no": c.No, "from": from.Name, "reason": truncate(reason, 100)}); err != nil {
		return err
	}
	if by.Via == "group" {
		return nil
	}
	return d.groupTx(ctx, tx, left, "group.transferred", wording.Vars{"case_no": c.No, "queue": target, "staff": by.Name})
}

func (d *Desk) findQueue(ctx context.Context, companyID, projectID, nameOrID string) (queue.Queue, bool, error) {
	all, err := d.queues.All(ctx, d.db, companyID)
	if err != nil {
		return queue.Queue{}, false, err
	}
	nameOrID = strings.TrimSpace(nameOrID)
	for _, q := range all {
		if q.ID == nameOrID {
			return q, true, nil
		}
	}
	for _, q := range all {
		if q.ProjectID == projectID && (q.Name == nameOrID || q.Line == nameOrID || strings.TrimSuffix(q.Name, "队列") == nameOrID) {
			return q, true, nil
		}
	}
	return queue.Queue{}, false, nil
}

// Handle marks the work done with the measures taken, tells the
// resident the result and asks whether the problem is solved.
func (d *Desk) Handle(ctx context.Context, by By, caseID, measures string) (Case, error) {
	measures = tidy(measures)
	c, err := d.read(ctx, by, caseID)
	if err != nil {
		return Case{}, err
	}
	if measures == "" {
		return Case{}, &Refused{Code: RefusedMeasures, Field: "measures", Args: map[string]string{"case_no": c.No}}
	}
	if err := d.authorize(ctx, d.db, by, staff.RightHandle, c); err != nil {
		return Case{}, err
	}
	if c.State.Waiting() && c.OwnerID == "" {
		return Case{}, refuse(RefusedNotClaimed, "case_no", c.No)
	}
	if err := d.mine(ctx, d.db, by, c); err != nil {
		return Case{}, err
	}
	// The measures are read by the resident, so they pass the same guard as a reply.
	if err := d.book.Guard(measures); err != nil {
		return Case{}, heldBack(err, c, "measures")
	}
	return d.move(ctx, by, caseID, ActionHandle, func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		c.Measures = measures
		c.HandledAt = d.clock.Now()
		text, err := d.book.Say("case.handled", wording.Vars{"case_no": c.No, "measures": measures, "staff": by.Name})
		if err != nil {
			return Event{}, err
		}
		id, err := d.tellTx(ctx, tx, *c, text, telling{class: ledger.ClassReply, options: d.solvedOptions(*c), by: by.Name})
		if err != nil {
			return Event{}, err
		}
		if by.Via != "group" {
			if err := d.groupTx(ctx, tx, *c, "group.handled", wording.Vars{"case_no": c.No, "staff": by.Name}); err != nil {
				return Event{}, err
			}
		}
		return Event{Text: measures, DeliveryID: id}, nil
	})
}

// solvedOptions are the answers to "solved?". Their ids carry the case number
// because old menus stay clickable for ever (protocol 3.4: numeric ids only).
func (d *Desk) solvedOptions(c Case) []Option {
	return []Option{
		{ID: c.No + "1", Text: d.book.Label("follow_up", FollowUpSolved)},
		{ID: c.No + "2", Text: d.book.Label("follow_up", FollowUpPartly)},
		{ID: c.No + "3", Text: d.book.Label("follow_up", FollowUpNotSolved)},
	}
}

// Close records the follow-up that staff made. Solved or unreachable
// closes the case; anything else opens it again.
func (d *Desk) Close(ctx context.Context, by By, caseID, followUp string) (Case, error) {
	c, err := d.read(ctx, by, caseID)
	if err != nil {
		return Case{}, err
	}
	if err := d.authorize(ctx, d.db, by, staff.RightClose, c); err != nil {
		return Case{}, err
	}
	switch followUp {
	case FollowUpSolved, FollowUpUnreachable:
		return d.move(ctx, by, caseID, ActionClose, func(_ context.Context, _ *db.Tx, c *Case) (Event, error) {
			c.FollowUp, c.ClosedAt = followUp, d.clock.Now()
			return Event{Text: followUp}, nil
		})
	case FollowUpPartly, FollowUpNotSolved:
		return d.reopen(ctx, by, caseID, followUp)
	default:
		return Case{}, &Refused{Code: RefusedFollowUp, Field: "follow_up", Args: map[string]string{"case_no": c.No}}
	}
}

func (d *Desk) read(ctx context.Context, by By, caseID string) (Case, error) {
	c, err := oneCase(ctx, d.db, `id = $1 AND company_id = $2`, caseID, by.CompanyID)
	if errors.Is(err, ErrNotFound) {
		return Case{}, refuse(RefusedUnknownCase)
	}
	return c, err
}
