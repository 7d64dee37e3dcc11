package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// judge compares the books with what the simulators saw and the API knows.
func (b *books) judge(ctx context.Context, out *crashFigures) error {
	notices, err := b.s.notices(ctx)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	err = each(ctx, 8, b.talks, func(ctx context.Context, t *talk) error {
		items, _, err := b.s.ctl.chat(ctx, t.openID, t.after)
		if err != nil {
			return err
		}
		found, err := b.s.ctl.cases(ctx, b.s.nodes[0].url(), t.openID)
		if err != nil {
			return err
		}
		v := t.weigh(items, int64(len(found)), notices[t.openID], b)
		if v.lostAnswers+v.lostNotices+v.doubled+v.doubledCases > 0 {
			b.s.log.Warn("a talk does not balance", "resident", t.openID, "verdict", fmt.Sprintf("%+v", v), "talk", t.describe(), "lines", b.lines(items))
		} else if v.allowed > 0 {
			b.s.log.Info("doubled by a kill", "resident", t.openID, "lines", b.lines(items))
		}
		mu.Lock()
		defer mu.Unlock()
		out.Cases += int64(len(found))
		out.LostAnswers += v.lostAnswers
		out.LostNotices += v.lostNotices
		out.DoubledAnswers += v.doubled
		out.DoubledAllowed += v.allowed
		out.DoubledCases += v.doubledCases
		out.Courtesies += v.awayTexts
		return nil
	})
	if err != nil {
		return err
	}
	if out.LostClaims, err = b.lostClaims(ctx); err != nil {
		return err
	}
	counters, err := b.s.ctl.counters(ctx)
	if err != nil {
		return err
	}
	out.OutIDs = int64(len(counters.Duplicates.OutID))
	if out.CardsWaiting, err = b.s.casesWithoutCard(ctx, false); err != nil {
		return err
	}
	if out.CardsMissing, err = b.s.casesWithoutCard(ctx, true); err != nil {
		return err
	}
	out.DoubleClaims = b.twice
	out.Lost = out.LostAnswers + out.LostNotices + out.LostClaims
	out.Doubled = out.DoubledAnswers + out.DoubledCases + out.DoubleClaims
	return nil
}

// casesWithoutCard counts cases whose group has not been told of them; with
// ended, only those for which no card is on its way any more. A chat takes few
// messages a minute, so that after a storm cards wait for a digest.
func (s *scene) casesWithoutCard(ctx context.Context, ended bool) (int64, error) {
	states := `'submitted', 'delivered', 'skipped'`
	if ended {
		states += `, 'planned', 'claimed', 'sending'`
	}
	return s.countRows(ctx, `SELECT count(*) FROM cases c WHERE NOT EXISTS (SELECT 1 FROM deliveries d
		WHERE d.ref_kind = 'case' AND d.ref_id = c.id AND d.channel = 'card' AND d.state IN (`+states+`))`)
}

func (t *talk) describe() string {
	return fmt.Sprintf("courtesies %d+%d matters %d+%d", t.courtesies, t.unsureCourtesies, t.matters, t.unsureMatters)
}

// lines tells a talk for the log: what kind of line, a mark that tells equal
// ones, and how long before (+) or after (-) the nearest kill it came.
func (b *books) lines(items []chatItem) string {
	var out strings.Builder
	for _, it := range items {
		sum := sha256.Sum256([]byte(it.Text))
		nearest := time.Hour
		for _, k := range b.kills {
			if d := k.Sub(it.At); d.Abs() < nearest.Abs() {
				nearest = d
			}
		}
		fmt.Fprintf(&out, "%s %s %x kill%+.2fs; ", it.At.Format("15:04:05.000"), it.Kind, sum[:3], nearest.Seconds())
	}
	return out.String()
}

// verdict is what came of one talk.
type verdict struct {
	lostAnswers, lostNotices       int64
	doubled, allowed, doubledCases int64
	awayTexts                      int64
}

// weigh counts what the resident got. sent are the words that staff's doings
// sent him, by text, with how often each surely arrived.
func (t *talk) weigh(items []chatItem, cases int64, sent map[string]notice, b *books) verdict {
	var v verdict
	var courtesies, templates int64
	opened := map[string]int64{}
	got := map[string]int64{}
	var near int64 // lines that a kill may have doubled
	for _, it := range items {
		switch {
		case it.From != "account":
		case it.Kind == "template":
			templates++
		case b.away.is(it.Text):
			v.awayTexts++
		case sent[it.Text].planned > 0:
			got[it.Text]++
			near += b.nearKill(it.At)
		case caseNo(it.Text) != "":
			opened[it.Text]++
			near += b.nearKill(it.At)
		default:
			courtesies++
			near += b.nearKill(it.At)
		}
	}
	excess := max(0, courtesies-t.courtesies-t.unsureCourtesies)
	for _, n := range opened {
		excess += n - 1
	}
	for text, n := range sent {
		excess += max(0, got[text]-n.planned)
		v.lostNotices += max(0, n.arrived-got[text])
	}
	v.allowed = min(excess, near)
	v.doubled = excess - v.allowed
	missing := max(0, t.courtesies-courtesies) + max(0, t.matters-int64(len(opened)))
	v.lostAnswers = max(0, missing-max(0, templates-t.told))
	v.doubledCases = max(0, cases-t.matters-t.unsureMatters)
	if cases < t.matters {
		v.lostAnswers = max(v.lostAnswers, t.matters-cases)
	}
	return v
}

// nearKill is 1 when a node was killed about when a line came: between the call
// and its record it may have come again (architecture section 4).
func (b *books) nearKill(at time.Time) int64 {
	for _, k := range b.kills {
		if at.After(k.Add(-2*time.Second)) && at.Before(k.Add(time.Second)) {
			return 1
		}
	}
	return 0
}

// notice is one text that staff's doings sent to a resident.
type notice struct{ planned, arrived int64 }

// notices reads what the ledger planned for residents besides answers.
func (s *scene) notices(ctx context.Context) (map[string]map[string]notice, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT address, text, count(*), count(CASE WHEN state IN ('submitted', 'delivered') THEN 1 END)
		FROM deliveries WHERE ref_kind = 'case' AND channel = 'service' GROUP BY address, text`)
	if err != nil {
		return nil, fmt.Errorf("read notices: %w", err)
	}
	defer rows.Close()
	out := map[string]map[string]notice{}
	for rows.Next() {
		var address, text string
		var n notice
		if err := rows.Scan(&address, &text, &n.planned, &n.arrived); err != nil {
			return nil, fmt.Errorf("read notices: %w", err)
		}
		if out[address] == nil {
			out[address] = map[string]notice{}
		}
		out[address][text] = n
	}
	return out, rows.Err()
}

// lostClaims counts cases that are not in the hands of whom the API said.
func (b *books) lostClaims(ctx context.Context) (int64, error) {
	var lost int64
	for no, who := range b.claims {
		var c caseView
		status, err := b.s.ctl.api(ctx, b.s.nodes[0].url(), b.s.ctl.ready.APIToken, http.MethodGet, "/cases/"+no, nil, &c)
		if err != nil {
			return 0, err
		}
		if status != http.StatusOK || c.Owner == nil || *c.Owner != who {
			lost++
		}
	}
	return lost, nil
}
