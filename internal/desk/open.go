package desk

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/ledger"
	"guanjia/internal/queue"
	"guanjia/internal/staff"
)

// Lines of business, and the queue codes of the interfaces page.
const (
	LineCustomerService = "customer_service"
	LineEngineering     = "engineering"
	LineOrderSecurity   = "order_security"
	LineEnvironment     = "environment"
)

// lineOf routes a category to its business line; what has no line of
// its own goes to customer service.
var lineOf = map[string]string{
	"order_security":   LineOrderSecurity,
	"cleaning":         LineEnvironment,
	"greening":         LineEnvironment,
	"engineering":      LineEngineering,
	"facilities_play":  LineEngineering,
	"customer_service": LineCustomerService,
	"management":       LineCustomerService,
	"convenience":      LineCustomerService,
	"special_needs":    LineCustomerService,
	"culture":          LineCustomerService,
	"other":            LineCustomerService,
}

// dangerLine overrides the category where a danger has its own people.
var dangerLine = map[string]string{
	"lift_trapped":   LineEngineering,
	"gas_leak":       LineEngineering,
	"electric":       LineEngineering,
	"water_burst":    LineEngineering,
	"fire":           LineOrderSecurity,
	"falling_object": LineOrderSecurity,
	"person_down":    LineOrderSecurity,
	"missing":        LineOrderSecurity,
	"violence":       LineOrderSecurity,
	"manhole":        LineEngineering,
}

// LineFor gives the business line of a matter.
func LineFor(category, danger string) string {
	if line, ok := dangerLine[danger]; ok {
		return line
	}
	if line, ok := lineOf[category]; ok {
		return line
	}
	return LineCustomerService
}

// TopicBinding marks the task in which staff look at a binding that nobody
// registered. Whoever tried it is never told of it.
const TopicBinding = "binding"

// kinds and modes that a case may have (glossary sections 3 and 9).
var (
	kinds = map[string]bool{"inquiry": true, "complaint": true, "repair": true, "suggestion": true, "help": true, "praise": true}
	modes = map[string]bool{"wechat": true, "sms": true, "call_in": true, "call_out": true, "visit_in": true, "home_visit": true,
		"written": true, "opinion_box": true, "event": true, "head_office": true, "government": true}
)

// ValidKind tells whether a case may be of this intent.
func ValidKind(k string) bool { return kinds[k] }

// ValidMode tells whether m is a contact mode of the glossary.
func ValidMode(m string) bool { return modes[m] }

// ValidCategory tells whether c is one of the eleven categories.
func ValidCategory(c string) bool { _, ok := lineOf[c]; return ok }

// Open is what a new case is made of.
type Open struct {
	CompanyID, ProjectID     string
	Kind, Category, Topic    string
	Danger                   string // kind of emergency; sets the priority
	Priority                 string // normal when empty
	Text                     string
	Mode                     string
	UnitID, Unit, Building   string
	ResidentID, ResidentName string
	Phone                    string
	ConversationID           string
	AccountID, OpenID        string
	SourceID                 string // message or request that opens it; opens one case however often it is tried
	Line                     string // overrides the category's line
}

// Prepared holds what must be fetched before a transaction: a case number and
// the way to the people. Preparing and not opening leaves a gap in the numbers,
// nothing else.
type Prepared struct {
	no     string
	routes routes
}

// Prepare fetches what an opening needs. It must not be called inside a transaction.
func (d *Desk) Prepare(ctx context.Context, companyID string) (Prepared, error) {
	routes, err := d.routes(ctx, companyID)
	if err != nil {
		return Prepared{}, err
	}
	no, err := d.takeNumber(ctx, companyID)
	return Prepared{no: no, routes: routes}, err
}

// OpenTx opens a case: row, first event, card and, for a danger, the loud text
// to those on duty, all or nothing. ErrStale when the source opened one before.
func (d *Desk) OpenTx(ctx context.Context, tx *db.Tx, p Prepared, by By, o Open) (Case, error) {
	o.Text = tidy(o.Text)
	if err := checkOpen(o); err != nil {
		return Case{}, err
	}
	line := o.Line
	if line == "" {
		line = LineFor(o.Category, o.Danger)
	}
	q, err := queueFor(p.routes.queues, o.ProjectID, line)
	if err != nil {
		return Case{}, err
	}
	now := d.clock.Now()
	c := Case{
		ID: db.NewID(), CompanyID: o.CompanyID, ProjectID: q.ProjectID, No: p.no, State: StateDispatched,
		Kind: o.Kind, Category: o.Category, Topic: o.Topic, Priority: PriorityNormal, Level: "department", Danger: o.Danger,
		QueueID: q.ID, UnitID: o.UnitID, Unit: o.Unit, Building: o.Building, ResidentID: o.ResidentID, ResidentName: o.ResidentName,
		ConversationID: o.ConversationID, AccountID: o.AccountID, OpenID: o.OpenID, Phone: o.Phone,
		Summary: summarize(o.Text), Text: o.Text, Mode: o.Mode, OpenedAt: now, Version: 1,
	}
	if o.Priority != "" {
		c.Priority = o.Priority
	}
	if o.Danger != "" {
		c.Priority = PriorityEmergency
	}
	if c.Kind == "complaint" && c.Category == "" {
		c.Category = "other" // no complaint is dispatched without a category
	}
	if o.Mode == "head_office" || o.Mode == "government" {
		c.Level = "company"
	}
	settings, _, err := d.settings(ctx, o.CompanyID)
	if err != nil {
		return Case{}, err
	}
	c.AcceptBy, c.PromisedAt = d.deadlines(settings, c.CompanyID, now, c.Priority)
	if err := insertTx(ctx, tx, c, o.SourceID, localDay(now)); err != nil {
		return Case{}, err
	}
	if err := eventTx(ctx, tx, c, StateNew, by, Event{At: now, Kind: string(ActionOpen), Text: o.Text}); err != nil {
		return Case{}, err
	}
	if err := d.cardsToTx(ctx, tx, c, p.routes.groups[c.QueueID]); err != nil {
		return Case{}, err
	}
	d.point("case." + string(ActionOpen) + ".written")
	tx.AfterCommit(func(ctx context.Context) {
		d.point("case." + string(ActionOpen) + ".committed")
		d.syncQueue(ctx, Case{}, c)
	})
	return c, nil
}

func checkOpen(o Open) error {
	switch {
	case !ValidKind(o.Kind):
		return &Refused{Code: RefusedKind, Field: "kind"}
	case o.Category != "" && !ValidCategory(o.Category):
		return &Refused{Code: RefusedCategory, Field: "category"}
	case !ValidMode(o.Mode):
		return &Refused{Code: RefusedMode, Field: "mode"}
	case o.Text == "":
		return &Refused{Code: RefusedText, Field: "text"}
	}
	return nil
}

// queueFor finds the queue of a line, so that no case is without one: a project
// without such a line falls back to customer service. Who writes without being
// bound says no project; where the company has several, customer service of
// the first asks.
func queueFor(all []queue.Queue, projectID, line string) (queue.Queue, error) {
	if len(all) == 0 {
		return queue.Queue{}, refuse(RefusedUnknownQueue, "line", line)
	}
	if projectID == "" {
		projectID = all[0].ProjectID
		if all[len(all)-1].ProjectID != projectID { // they come by project
			line = LineCustomerService
		}
	}
	own := slices.DeleteFunc(slices.Clone(all), func(q queue.Queue) bool { return q.ProjectID != projectID })
	for _, l := range []string{line, LineCustomerService} {
		if i := slices.IndexFunc(own, func(q queue.Queue) bool { return q.Line == l }); i >= 0 {
			return own[i], nil
		}
	}
	return slices.Concat(own, all)[0], nil
}

// deadlines gives when a named owner must have accepted and when a
// person answers first, by the company's limits. Emergencies ignore
// office hours; nothing waits longer than the 24 hours of an inquiry
//
func (d *Desk) deadlines(s company.Settings, companyID string, now time.Time, priority string) (accept, reply time.Time) {
	acceptIn, replyIn := s.AcceptLimit[priority], s.FirstReply[priority]
	if priority == PriorityEmergency {
		return now.Add(acceptIn), now.Add(replyIn)
	}
	working := d.calendar(companyID)
	return working.Sooner(now, acceptIn), working.Sooner(now, replyIn)
}

// summaryRunes is what a card's row and a list can show of a matter.
const summaryRunes = 40

func summarize(text string) string {
	s := strings.Join(strings.Fields(text), " ")
	if utf8.RuneCountInString(s) <= summaryRunes {
		return s
	}
	return string([]rune(s)[:summaryRunes-1]) + "…"
}

// cardsTx puts the case's card into every work group of its queue, and for an
// emergency a text that rings those on duty (interfaces: "Loud").
func (d *Desk) cardsTx(ctx context.Context, tx *db.Tx, c Case) error {
	groups, err := d.staff.GroupsOfQueue(ctx, tx, c.QueueID)
	if err != nil {
		return err
	}
	return d.cardsToTx(ctx, tx, c, groups)
}

func (d *Desk) cardsToTx(ctx context.Context, tx *db.Tx, c Case, groups []staff.WorkGroup) error {
	lane := ledger.LaneCard
	if c.Emergency() {
		lane = ledger.LaneEmergency
	}
	for _, g := range groups {
		_, err := d.ledger.PutTx(ctx, tx, ledger.New{
			CompanyID: c.CompanyID, Channel: ledger.ChannelCard, AccountID: g.BotID, Address: g.ChatID, Lane: lane, Class: ledger.ClassCard,
			Payload: map[string]any{"case": c.ID, "revision": c.Version}, RefKind: "case", RefID: c.ID, RefRev: c.Version, Supersede: true, First: c.Version == 1,
			OrderKey: "group:" + g.ChatID + ":" + c.ID,
		})
		if err != nil {
			return err
		}
		if !c.Emergency() {
			continue
		}
		if err := d.loudTx(ctx, tx, c, g.ChatID); err != nil {
			return err
		}
	}
	return nil
}

// Open opens a case in a transaction of its own, for console and API. Trying
// the same SourceID again gives the case it opened.
func (d *Desk) Open(ctx context.Context, by By, o Open) (Case, error) {
	p, err := d.Prepare(ctx, o.CompanyID)
	if err != nil {
		return Case{}, err
	}
	var c Case
	err = d.db.InTx(ctx, "desk.open", func(ctx context.Context, tx *db.Tx) error {
		var err error
		c, err = d.OpenTx(ctx, tx, p, by, o)
		return err
	})
	if errors.Is(err, ErrStale) && o.SourceID != "" {
		return oneCase(ctx, d.db, `source_id = $1 AND company_id = $2`, o.SourceID, o.CompanyID)
	}
	return c, err
}
